"""Descriptions of activation functions φ.

Activations are values: frozen, hashable and picklable, and equal if they have the same class and parameters. Their
method ``dual`` computes the expectations that kernels at infinite width are made of. :class:`Activation` takes any
Python function.

Notes
-----
The classes write ``T = E φ(u)φ(v)`` for the dual of φ, and ``Ṫ = E φ'(u)φ'(v)`` for the dual of its derivative. The
Gaussian variables u and v have mean 0, variances q1 and q2, and covariance c. Their correlation is ``ρ = c/√(q1 q2)``,
and their angle ``θ = arccos ρ``.

``mlp(1, 1, 1, φ).kernel()`` has the NNGP kernel T, with ``q1 = |x|²/n_0``, ``q2 = |x'|²/n_0`` and ``c = ⟨x, x'⟩/n_0``:

>>> from ntkrs import Relu, mlp
>>> mlp(1, 1, 1, Relu()).kernel().diag([[1.0]], "nngp")  # E max(z, 0)² for z ~ N(0, 1)
array([0.5])
"""

from __future__ import annotations

from dataclasses import MISSING, astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np

from ntkrs import _core
from ntkrs._checks import grids, numbers
from ntkrs._runtime.warning import warn
from ntkrs.errors import TruncationWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    #: An activation as the core takes it: a name with parameters, a function that returns φ and its derivative, or one
    #: that returns φ alone, with False.
    Spec: TypeAlias = (
        tuple[str, tuple[float, ...]]
        | Callable[[NDArray[np.float64]], tuple[Any, Any]]
        | tuple[Callable[[NDArray[np.float64]], Any], bool]
    )

#: The activations. All of them are also names of :mod:`ntkrs`.
__all__ = [
    "Abs",
    "Activation",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Gaussian",
    "Gelu",
    "GeluTanh",
    "Hermite",
    "Identity",
    "LeakyRelu",
    "Mish",
    "Monomial",
    "Polynomial",
    "Rbf",
    "RectifiedPower",
    "Relu",
    "Selu",
    "Sigmoid",
    "Sign",
    "Silu",
    "Sin",
    "Softplus",
    "Softsign",
    "Tanh",
]

#: The largest truncation error of a series that causes no warning.
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Elementwise:
    """An activation function φ, applied to each unit. Abstract: use one of its subclasses.

    Raises
    ------
    TypeError
        If Elementwise itself is instantiated.

    Examples
    --------
    >>> from ntkrs import Relu
    >>> Relu().spec()
    ('relu', ())
    """

    #: The snake-case name of the activation in :func:`mlp` and in the core.
    name: ClassVar[str]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Create the activation, unless the class is Elementwise itself."""
        if cls is Elementwise:
            raise TypeError("Elementwise is an abstract base class. Use one of its subclasses, such as Relu().")
        return super().__new__(cls)

    def spec(self) -> Spec:
        """Return the name and the parameters, the form in which the core takes an activation."""
        return self.name, tuple(float(value) for value in astuple(self))

    def dual(self, q1: ArrayLike, q2: ArrayLike, c: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the dual of φ and of φ': their expectations over two Gaussian variables.

        ::

            T = E φ(u) φ(v),    T_dot = E φ'(u) φ'(v),    (u, v) ~ N(0, [[q1, c], [c, q2]])

        Price's law says ``∂T/∂c = T_dot``. It does not hold for activations that jump: φ' leaves out the jump.

        Parameters
        ----------
        q1, q2 : array_like
            Variances, at least 0. A variable of variance 0 is the constant 0, and c must then be 0. If φ has a kink at
            0, φ' counts as the mean of both sides there.
        c : array_like
            Covariances, at most ``√(q1 q2)`` in absolute value. An excess of up to 64 ε counts as rounding. The shapes
            of the three broadcast.

        Returns
        -------
        T, T_dot : float64 ndarray
            Both of the broadcast shape.

        Raises
        ------
        ValueError
            If a variance is negative, a covariance is too large, the shapes do not fit together, an entry is not
            finite, or a result exceeds float64.
        TypeError
            If an argument does not hold real numbers.

        Warns
        -----
        ntkrs.TruncationWarning
            If a series is too short, so that results may be off by more than 1e-10.

        Notes
        -----
        Errors are a few ε, in units of ``√(T(q1, q1) T(q2, q2))`` for T and the same for T_dot, or as those of
        :meth:`ntkrs.Kernel.error_bound` for a series. They do not grow near ``|c| = √(q1 q2)``, because ``q1 q2 - c²``
        is computed without rounding. Arguments count as exact. But a c that was rounded to float64 before the call
        changes T_dot of a ReLU near ``c = √(q1 q2)`` by up to √ε. Kernels of inputs do not have this error.

        O(1) operations per pair. A series also takes some 20,000 operations for each distinct variance, and some
        milliseconds for each factor of 2 that the variances span.

        References
        ----------
        Price (1958); Daniely, Frostig, Singer (2016).

        Examples
        --------
        >>> from ntkrs import Relu
        >>> T, T_dot = Relu().dual(1.0, 1.0, [1.0, 0.0, -1.0])
        >>> T.round(4).tolist(), T_dot.round(4).tolist()
        ([0.5, 0.1592, 0.0], [0.5, 0.25, 0.0])
        """
        pairs = grids.broadcast(q1=q1, q2=q2, c=c)
        values, slopes, missing = _core.dual(self.spec(), tuple(pair.ravel() for pair in pairs))
        if missing > _TOLERANCE:
            warn(
                f"the series of {self!r} is too short for these variances: T and T_dot may be off by {missing:.1e} of "
                "√(T(q1, q1) T(q2, q2)). A kink of φ away from 0, or waves far from 0, make series too long.",
                TruncationWarning,
            )
        return values.reshape(pairs[0].shape), slopes.reshape(pairs[0].shape)

    def _check_numbers(self) -> None:
        """Check that every parameter is a finite float, and store it as one."""
        for parameter in fields(self):
            number = numbers.real(getattr(self, parameter.name), parameter.name)
            object.__setattr__(self, parameter.name, number + 0.0)  # -0.0 and 0.0 are one value

    def _check_degree(self, most: int) -> None:
        """Check that the degree is an integer from 0 to ``most``, and store it as an int."""
        degree = numbers.integer(getattr(self, "degree"), "degree")  # noqa: B009 only some subclasses have one
        if not 0 <= degree <= most:
            raise ValueError(f"degree is {degree}, but {type(self).__name__} takes 0 to {most}")
        object.__setattr__(self, "degree", degree)


@dataclass(frozen=True)
class Identity(Elementwise):
    """The identity, ``φ(x) = x``: the network is linear in its inputs.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = c``, with ``Ṫ = 1``.

    Examples
    --------
    >>> from ntkrs import Identity, mlp
    >>> mlp(1, 1, 1, Identity()).kernel()([[1.0]], [[3.0]])  # (L + 1) c, for L hidden layers
    array([[6.]])
    """

    name = "identity"


@dataclass(frozen=True)
class Relu(Elementwise):
    """The rectified linear unit, ``φ(x) = max(x, 0)``, with ``φ'(0) = 0``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is
    ``T = √(q1 q2)/(2π) · (sin θ + (π - θ) cos θ)``, with ``Ṫ = (π - θ)/(2π)``.

    References
    ----------
    Cho & Saul (2009).

    Examples
    --------
    >>> from ntkrs import Relu, mlp
    >>> mlp(1, 1, 1, Relu()).kernel()([[1.0]], [[1.0], [-1.0]], get="nngp")  # q/2 for equal rows, 0 for opposite ones
    array([[0.5, 0. ]])
    """

    name = "relu"


@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """The leaky rectified linear unit, ``φ(x) = max(x, 0) + slope · min(x, 0)``, with ``φ'(0) = slope``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = slope · c + (1 - slope)² T_relu``, where
    T_relu is the dual of :class:`Relu`.

    Parameters
    ----------
    slope : float
        Slope for negative arguments.

    Raises
    ------
    TypeError, ValueError
        If the slope is not a finite number.

    Examples
    --------
    >>> from ntkrs import LeakyRelu, mlp
    >>> mlp(1, 1, 1, LeakyRelu(0.2)).kernel().diag([[1.0]], "nngp").round(12)  # (1 + slope²)/2
    array([0.52])
    """

    name = "leaky_relu"

    slope: float = 0.01

    def __post_init__(self) -> None:
        """Check the slope."""
        self._check_numbers()


@dataclass(frozen=True)
class Abs(Elementwise):
    """The absolute value, ``φ(x) = |x|``, with ``φ'(0) = 0``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is
    ``T = 2√(q1 q2)/π · (sin θ + (π/2 - θ) cos θ)``, with ``Ṫ = 1 - 2θ/π``.

    Examples
    --------
    >>> from ntkrs import Abs, mlp
    >>> mlp(1, 1, 1, Abs()).kernel()([[1.0]], [[1.0], [-1.0]], get="nngp")  # even: x and -x have the same features
    array([[1., 1.]])
    """

    name = "abs"


@dataclass(frozen=True)
class Erf(Elementwise):
    """The error function, ``φ(x) = erf(x)``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is
    ``T = 2/π · arcsin(2c/√((1+2q1)(1+2q2)))``, with ``Ṫ = 4/π · ((1+2q1)(1+2q2) - 4c²)^{-1/2}``.

    References
    ----------
    Williams (1997).

    Examples
    --------
    >>> from ntkrs import Erf, mlp
    >>> mlp(1, 1, 1, Erf()).kernel().diag([[2**-0.5]], "nngp").round(6)  # T = 1/3 for q = 1/2
    array([0.333333])
    """

    name = "erf"


@dataclass(frozen=True)
class Tanh(Elementwise):
    """The hyperbolic tangent, ``φ(x) = tanh(x)``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`.

    Examples
    --------
    >>> from ntkrs import Tanh, mlp
    >>> mlp(1, 1, 1, Tanh()).kernel().diag([[1.0]], "nngp").round(6)  # E tanh²(z) for z ~ N(0, 1)
    array([0.394294])
    """

    name = "tanh"


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """The logistic sigmoid, ``φ(x) = 1/(1 + e^{-x})``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`.

    Examples
    --------
    >>> from ntkrs import Sigmoid, mlp
    >>> mlp(1, 1, 1, Sigmoid()).kernel().diag([[0.0]], "nngp").round(12)  # φ(0)² at x = 0
    array([0.25])
    """

    name = "sigmoid"


@dataclass(frozen=True)
class Silu(Elementwise):
    """The sigmoid linear unit, also called swish: ``φ(x) = x/(1 + e^{-x})``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`.

    Examples
    --------
    >>> from ntkrs import Silu, mlp
    >>> K = mlp(1, 1, 1, Silu()).kernel()([[1.0]], [[1.0], [-1.0]], get="nngp")
    >>> round(float(K[0, 0] - K[0, 1]), 12)  # E φ(z) (φ(z) - φ(-z)) = 1/2, since φ(x) - φ(-x) = x
    0.5
    """

    name = "silu"


@dataclass(frozen=True)
class Softplus(Elementwise):
    """The softplus, ``φ(x) = log(1 + e^x)``, with ``φ'(x) = 1/(1 + e^{-x})``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`.

    Examples
    --------
    >>> from ntkrs import Softplus, mlp
    >>> mlp(1, 1, 1, Softplus()).kernel().diag([[0.0]], "nngp").round(6)  # φ(0)² = (log 2)² at x = 0
    array([0.480453])
    """

    name = "softplus"


@dataclass(frozen=True)
class Softsign(Elementwise):
    """The softsign, ``φ(x) = x/(1 + |x|)``, with ``φ'(x) = 1/(1 + |x|)²``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`. The jump of φ'' at 0 enters the series
    as a power law, so kernels of near-duplicate inputs keep their digits.

    References
    ----------
    Turian, Bergstra, Bengio (2009); Glorot & Bengio (2010).

    Examples
    --------
    >>> from ntkrs import Softsign, mlp
    >>> mlp(1, 1, 1, Softsign()).kernel()([[1.0, 0.0]], [[0.0, 1.0]])  # φ is odd: 0 between orthogonal inputs
    array([[0.]])
    """

    name = "softsign"


@dataclass(frozen=True)
class Mish(Elementwise):
    """The Mish activation, ``φ(x) = x tanh(log(1 + e^x))``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`.

    Examples
    --------
    >>> from ntkrs import Mish, mlp
    >>> mlp(1, 1, 1, Mish()).kernel().diag([[1.0]], "nngp").round(6)  # E φ(z)² for z ~ N(0, 1)
    array([0.452342])
    """

    name = "mish"


@dataclass(frozen=True)
class GeluTanh(Elementwise):
    """The tanh approximation of GELU, ``φ(x) = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`. :class:`Gelu` is the exact function.

    Examples
    --------
    >>> from ntkrs import GeluTanh, mlp
    >>> mlp(1, 1, 1, GeluTanh()).kernel().diag([[1.0]], "nngp").round(6)  # 0.425221 for Gelu()
    array([0.425194])
    """

    name = "gelu_tanh"


@dataclass(frozen=True)
class Elu(Elementwise):
    """The exponential linear unit: ``φ(x) = x`` for x > 0, otherwise ``alpha (e^x - 1)``, with ``φ'(0) = alpha``.

    Its kernels are computed by a series: see :meth:`ntkrs.Kernel.error_bound`. The kink enters the series as a power
    law, so kernels of near-duplicate inputs keep their digits.

    Parameters
    ----------
    alpha : float
        Limit of -φ(x) for x → -∞.

    Raises
    ------
    TypeError, ValueError
        If alpha is not a finite number.

    Examples
    --------
    >>> from ntkrs import Elu, mlp
    >>> mlp(1, 1, 1, Elu(alpha=0.0)).kernel().diag([[1.0]], "nngp").round(12)  # ReLU for alpha = 0
    array([0.5])
    """

    name = "elu"

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check alpha."""
        self._check_numbers()


@dataclass(frozen=True)
class Selu(Elementwise):
    """The scaled exponential linear unit, ``φ(x) = 1.0507 Elu(1.6733)(x)``, which preserves mean 0 and variance 1.

    Its kernels are computed as for :class:`Elu`.

    Examples
    --------
    >>> from ntkrs import Selu, mlp
    >>> mlp(1, 1, 1, Selu()).kernel().diag([[1.0]], "nngp").round(6)  # variance 1 stays 1
    array([1.])
    """

    name = "selu"


@dataclass(frozen=True)
class Gelu(Elementwise):
    """The Gaussian error linear unit, ``φ(x) = x Φ(x)``, where Φ is the normal distribution function.

    :class:`GeluTanh` is its tanh approximation.

    References
    ----------
    Tsuchida et al. (2021).

    Examples
    --------
    >>> from ntkrs import Gelu, mlp
    >>> K = mlp(1, 1, 1, Gelu()).kernel()([[1.0]], [[1.0], [-1.0]], get="nngp")
    >>> round(float(K[0, 0] - K[0, 1]), 12)  # E φ(z) (φ(z) - φ(-z)) = 1/2, since φ(x) - φ(-x) = x
    0.5
    """

    name = "gelu"


@dataclass(frozen=True)
class Sin(Elementwise):
    """A sine, ``φ(x) = a sin(bx + p)``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is
    ``T = a²/2 [e^{-b²(q1+q2-2c)/2} - cos 2p e^{-b²(q1+q2+2c)/2}]``. Ṫ is b² times the same expression with a plus
    sign between the two terms.

    Parameters
    ----------
    a : float
        Amplitude.
    b : float
        Frequency, in radians.
    p : float
        Phase, in radians.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a finite number.

    References
    ----------
    Sitzmann et al. (2020) for networks; Louart, Liao, Couillet (2018) for the kernel.

    Examples
    --------
    >>> from ntkrs import Cos, Sin, mlp
    >>> k_sin, k_cos = (mlp(1, 1, 1, φ).kernel() for φ in (Sin(), Cos()))
    >>> (k_sin.diag([[1.0]], "nngp") + k_cos.diag([[1.0]], "nngp")).round(12)  # sin² + cos² = 1
    array([1.])
    """

    name = "sin"

    a: float = 1.0
    b: float = 1.0
    p: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._check_numbers()


@dataclass(frozen=True)
class Cos(Elementwise):
    """A cosine, ``φ(x) = a cos(bx + p)``.

    It equals :class:`Sin` with π/2 added to p, but π/2 is not rounded.

    Parameters
    ----------
    a, b, p : float
        Amplitude, frequency and phase, as in :class:`Sin`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a finite number.

    Examples
    --------
    >>> from ntkrs import Cos, mlp
    >>> mlp(1, 1, 1, Cos(a=3.0)).kernel().diag([[0.0]], "nngp")  # a² at x = 0
    array([9.])
    """

    name = "cos"

    a: float = 1.0
    b: float = 1.0
    p: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._check_numbers()


@dataclass(frozen=True)
class Rbf(Elementwise):
    """A wave whose kernel is the squared exponential, ``φ(x) = √2 sin(√(2γ) x + π/4)``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = e^{-γ(q1+q2-2c)}``.

    Parameters
    ----------
    gamma : float
        γ, positive.

    Raises
    ------
    TypeError, ValueError
        If gamma is not a positive finite number.

    References
    ----------
    Rahimi & Recht (2007).

    Examples
    --------
    >>> from ntkrs import Rbf, mlp
    >>> mlp(1, 1, 1, Rbf(gamma=0.5)).kernel()([[1.0]], [[2.0]], get="nngp").round(6)  # e^{-γ|x-x'|²/n_0}
    array([[0.606531]])
    """

    name = "rbf"

    gamma: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter."""
        object.__setattr__(self, "gamma", numbers.positive(self.gamma, "gamma"))


@dataclass(frozen=True)
class Exp(Elementwise):
    """The exponential, ``φ(x) = a e^{bx}``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = a² e^{b²((q1+q2)/2 + c)}``.

    The kernel grows like ``e^{2b²q}``, and after two such layers like an exponential of an exponential. Inputs whose
    kernel exceeds the range of float64 are rejected.

    Parameters
    ----------
    a, b : float
        Factor and rate.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a finite number.

    References
    ----------
    Mairal et al. (2014).

    Examples
    --------
    >>> from ntkrs import Exp, mlp
    >>> mlp(1, 1, 1, Exp()).kernel().diag([[1.0]], "nngp").round(6)  # e²
    array([7.389056])
    """

    name = "exp"

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._check_numbers()


@dataclass(frozen=True)
class Gaussian(Elementwise):
    """A Gaussian bump, ``φ(x) = e^{-bx²}``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = M^{-1/2}``, with
    ``M = (1+2b q1)(1+2b q2) - 4b²c²``.

    Parameters
    ----------
    b : float
        Inverse squared width, positive.

    Raises
    ------
    TypeError, ValueError
        If b is not a positive finite number.

    References
    ----------
    Williams (1997).

    Examples
    --------
    >>> from ntkrs import Gaussian, mlp
    >>> mlp(1, 1, 1, Gaussian(b=2.0)).kernel().diag([[1.0]], "nngp").round(6)  # (1 + 4b)^{-1/2} for q = 1
    array([0.333333])
    """

    name = "gaussian"

    b: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter."""
        object.__setattr__(self, "b", numbers.positive(self.b, "b"))


@dataclass(frozen=True)
class Sign(Elementwise):
    """The sign, ``φ(x) = sign(x)``, with ``φ(0) = 0`` and ``φ' = 0``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = 1 - 2θ/π``, with ``Ṫ = 0``. The NTK is
    therefore that of the last layer alone.

    References
    ----------
    Cho & Saul (2009).

    Examples
    --------
    >>> from ntkrs import Sign, mlp
    >>> mlp(1, 1, 1, Sign()).kernel()([[1.0, 0.0]], [[1.0, 1.0]], get="nngp").round(12)  # θ = π/4
    array([[0.5]])
    """

    name = "sign"


@dataclass(frozen=True)
class RectifiedPower(Elementwise):
    """A power of the rectified linear unit, ``φ(x) = max(x, 0)^degree``.

    Its kernels are the arc-cosine kernels. For degree 0, φ is the step function with ``φ(0) = 0``.

    Parameters
    ----------
    degree : int
        From 0 to 16; degree 1 is :class:`Relu`.

    Raises
    ------
    TypeError, ValueError
        If the degree is not an integer, or out of range.

    References
    ----------
    Cho & Saul (2009).

    Examples
    --------
    >>> from ntkrs import RectifiedPower, mlp
    >>> mlp(1, 1, 1, RectifiedPower(2)).kernel().diag([[1.0]], "nngp").round(12)  # E max(z, 0)⁴ = 3/2
    array([1.5])
    """

    name = "rectified_power"

    degree: int

    def __post_init__(self) -> None:
        """Check the degree."""
        self._check_degree(16)


@dataclass(frozen=True)
class Monomial(Elementwise):
    """A power, ``φ(x) = x^degree``: a :class:`Polynomial` with one term.

    Parameters
    ----------
    degree : int
        From 0 to 32.

    Raises
    ------
    TypeError, ValueError
        If the degree is not an integer, or out of range.

    Examples
    --------
    >>> from ntkrs import Monomial, mlp
    >>> mlp(1, 1, 1, Monomial(3)).kernel().diag([[1.0]], "nngp").round(12)  # E z⁶
    array([15.])
    """

    name = "monomial"

    degree: int

    def __post_init__(self) -> None:
        """Check the degree."""
        self._check_degree(32)


@dataclass(frozen=True, init=False, repr=False)
class Polynomial(Elementwise):
    """A polynomial, ``φ(x) = Σ_k coefficients[k] x^k``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = Σ_l a_l(q1) a_l(q2) ρ^l`` with
    ``a_l(q) = E φ(√q z) he_l(z)``. Here ``he_l = He_l/√l!`` are the normalised Hermite polynomials, and z is a standard
    normal variable.

    Parameters
    ----------
    *coefficients : float
        1 to 33 coefficients, the constant term first.

    Raises
    ------
    TypeError, ValueError
        If a coefficient is not a finite number, or their number is not from 1 to 33.

    References
    ----------
    Daniely, Frostig, Singer (2016).

    Examples
    --------
    >>> from ntkrs import Polynomial, mlp
    >>> mlp(1, 1, 1, Polynomial(0.0, 1.0, 0.5)).kernel().diag([[1.0]], "nngp").round(12)  # E (z + z²/2)² = 1 + 3/4
    array([1.75])
    """

    name = "polynomial"

    coefficients: tuple[float, ...]

    def __init__(self, *coefficients: float) -> None:
        if not 1 <= len(coefficients) <= 33:
            raise ValueError(f"there are {len(coefficients)} coefficients, but a polynomial here has 1 to 33")
        values = tuple(numbers.real(c, f"coefficient {k}") + 0.0 for k, c in enumerate(coefficients))
        object.__setattr__(self, "coefficients", values)

    def __repr__(self) -> str:
        return f"Polynomial({', '.join(map(repr, self.coefficients))})"

    def __reduce__(self) -> tuple[type[Polynomial], tuple[float, ...]]:
        return Polynomial, self.coefficients

    def spec(self) -> Spec:
        """Return the name and the coefficients, the form in which the core takes an activation."""
        return self.name, self.coefficients


@dataclass(frozen=True)
class Hermite(Elementwise):
    """A normalised Hermite polynomial, ``φ(x) = He_n(x)/√n!``.

    Its dual, in the notation of :mod:`ntkrs.activations`, is ``T = ρ^n`` where ``q1 = q2 = 1``.

    Parameters
    ----------
    degree : int
        n, from 0 to 32.

    Raises
    ------
    TypeError, ValueError
        If the degree is not an integer, or out of range.

    References
    ----------
    Daniely, Frostig, Singer (2016).

    Examples
    --------
    >>> from ntkrs import Hermite, mlp
    >>> mlp(1, 1, 1, Hermite(3)).kernel()([[1.0, 1.0]], [[1.4, 0.2]], get="nngp").round(12)  # 0.8³
    array([[0.512]])
    """

    name = "hermite"

    degree: int

    def __post_init__(self) -> None:
        """Check the degree."""
        self._check_degree(32)


@dataclass(frozen=True)
class Activation(Elementwise):
    """An activation that is given as a Python function φ. Finite networks also need its derivative.

    Kernels at infinite width are computed by a series with an error bound. Two such activations are equal if their
    functions are. Pickle stores the functions by name, so it refuses lambdas.

    Parameters
    ----------
    fn : callable
        φ. It takes a float64 array of shape (n,) and returns one of the same shape. Each value may depend only on the
        argument at the same place.
    derivative : callable, optional
        φ', called in the same way. It may have a jump at 0, and is smooth otherwise. A jump anywhere else adds an
        error to the kernels: they warn about it, and :meth:`ntkrs.Kernel.error_bound` returns its size. Kernels at
        infinite width compute it from the values of φ if it is missing. Finite networks need it.
    label : str, optional
        A name for what the functions compute. Files of kernel matrices (:func:`ntkrs.gram`) are compared by it.

    Raises
    ------
    TypeError
        If ``fn`` or ``derivative`` is not callable, or ``label`` is not text.
    ValueError
        If one of them returns an array of another shape or anything but finite real numbers, or if ``derivative`` is
        not the derivative of ``fn``.

    Notes
    -----
    Only the calling thread calls the functions. At infinite width they are called at a few thousand points for each
    layer and each factor of 2 that √Σ(x, x) spans. In finite networks they are called at all pre-activations of a
    layer, about 65,000 at a time.

    Without a derivative, φ is interpolated by a polynomial on each of many intervals, one of which ends at 0, and φ'
    is the derivative of these polynomials. The interpolation error is part of the bound, which is then at least 3e-13,
    and more where φ varies too fast for the polynomials. Where √Σ(x, x) is below 0.1 and φ(0) is not 0, Ṫ errs by up
    to 1e-12 times ``|φ(0)/φ'(0)|``.

    Finite networks with such an activation compute layer by layer, with φ and φ' on one thread. In float32 they round
    pre-activations to float32. Ensembles compute one network after another.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Activation, mlp
    >>> arch = mlp(1, 1, 1, Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2))
    >>> bool(np.isclose(arch.kernel()([[1.0]]), mlp(1, 1, 1, "tanh").kernel()([[1.0]]), rtol=1e-12))
    True
    """

    name = "activation"

    fn: Callable[[Any], Any]
    derivative: Callable[[Any], Any] | None = None
    label: str | None = None

    def __repr__(self) -> str:
        named = f"fn={self.fn!r}, derivative={self.derivative!r}" if self.label is None else f"label={self.label!r}"
        return f"{type(self).__name__}({named})"

    def __post_init__(self) -> None:
        """Call the functions, and compare the derivative with finite differences."""
        if not isinstance(self.label, str | None):
            raise TypeError(f"label is {self.label!r}, but text is needed")
        for what in ("fn", "derivative"):
            function = getattr(self, what)
            if not callable(function) and (what == "fn" or function is not None):
                raise TypeError(f"{what} is {function!r}, but a function of an array is needed")
        x = np.linspace(-3.0, 3.0, 38)  # without 0, where there may be a kink
        if self.derivative is None:
            self._values("fn", x)
            return
        step = 1e-5
        slopes = self._values("derivative", x)
        differences = (self._values("fn", x + step) - self._values("fn", x - step)) / (2 * step)
        # A central difference has an error of step²/6 times the third derivative, plus ε/step times the function.
        errors = np.abs(differences - slopes) - 1e-5 * (1 + np.abs(slopes) + np.abs(self._values("fn", x)))
        worst = int(np.argmax(errors))
        if errors[worst] > 0:
            raise ValueError(
                f"derivative gives {slopes[worst]:.6g} at {x[worst]:.6g}, but fn has the slope "
                f"{differences[worst]:.6g} there: pass the derivative of fn"
            )

    def _values(self, what: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Call ``fn`` or ``derivative``, and check its values: no warning of NumPy is needed beside that."""
        try:
            with np.errstate(all="ignore"):
                values = np.asarray(getattr(self, what)(x.copy()))
        except ValueError as error:
            if "truth value" not in str(error):
                raise
            raise TypeError(
                f"{what} takes a number, but must take an array. Write its cases with numpy.where, or pass "
                f"numpy.vectorize({what})."
            ) from error
        if values.shape != x.shape or values.dtype.kind not in "fiub":
            raise ValueError(
                f"{what} returned shape {values.shape} and dtype {values.dtype} for an array of shape {x.shape}, but "
                "must return as many real numbers"
            )
        if not np.isfinite(values).all():
            first = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{what} returned {values[first]} at {x[first]}, but must be finite there")
        return np.ascontiguousarray(values, dtype=np.float64)

    def _value_and_slope(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and φ' at x."""
        return self._values("fn", x), self._values("derivative", x)

    def _value(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return φ at x."""
        return self._values("fn", x)

    def spec(self) -> Spec:
        """Return the function that the core calls for φ and φ', or for φ alone."""
        return (self._value, False) if self.derivative is None else self._value_and_slope


#: Names of other libraries for activations of this one, spelled as :func:`spelling` returns them.
_ALIASES = {"swish": "silu", "logistic": "sigmoid", "linear": "identity"}


def spelling(name: str) -> str:
    """Return a name without its case, underscores and hyphens."""
    return name.lower().replace("_", "").replace("-", "")


def by_name(name: str) -> Elementwise:
    """Return the activation with this name and default parameters.

    Parameters
    ----------
    name : str
        The name of a class in snake case, such as ``"leaky_relu"``. Case and underscores do not matter, so
        ``"LeakyReLU"`` is the same. ``"swish"`` is SiLU, ``"logistic"`` the sigmoid, and ``"linear"`` the identity.

    Raises
    ------
    ValueError
        If there is no such activation, or it has a parameter without a default. The message names similar ones.

    Examples
    --------
    >>> from ntkrs.activations import by_name
    >>> by_name("leaky_relu")
    LeakyRelu(slope=0.01)
    """
    known = {cls.name: cls for cls in Elementwise.__subclasses__()}
    spelled = {spelling(own): own for own in known} | _ALIASES
    if spelling(name) not in spelled:
        from difflib import get_close_matches  # it takes 4 ms to load

        similar = [spelled[match] for match in get_close_matches(spelling(name), spelled)]
        hint = f" Did you mean {' or '.join(map(repr, dict.fromkeys(similar)))}?" if similar else ""
        names = ", ".join(map(repr, known))
        raise ValueError(f"activation is {name!r}, but must be one of {names}, or an activation object.{hint}")
    cls = known[spelled[spelling(name)]]
    required = [field.name for field in fields(cls) if field.default is MISSING]
    if required:
        raise ValueError(
            f"activation is {name!r}, but {cls.__name__} has no default {required[0]}: "
            f"pass an object, {cls.__name__}(...)"
        )
    return cls()
