"""Activation functions, as descriptions: φ, and where the kernels that it leads to come from.

They are values: frozen, hashable, compared by what they hold, picklable. They compute nothing: a class here stands for
the entry of the core's catalogue with the same name.
"""

from __future__ import annotations

from dataclasses import MISSING, astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np

from ntkrs._checks import numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    #: What the core takes an activation for: a name with parameters, or a function to φ and its derivative.
    Spec: TypeAlias = tuple[str, tuple[float, ...]] | Callable[[NDArray[np.float64]], tuple[Any, Any]]


@dataclass(frozen=True)
class Elementwise:
    """An activation function, applied to each unit. Use one of its subclasses."""

    #: The name that :func:`mlp` and the core know it by.
    name: ClassVar[str]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Refuse to make an activation that is none in particular."""
        if cls is Elementwise:
            raise TypeError("Elementwise is no activation itself. Use one of its subclasses, such as Relu().")
        return super().__new__(cls)

    def spec(self) -> Spec:
        """Return the name and the parameters."""
        return self.name, tuple(float(value) for value in astuple(self))

    def _check_numbers(self) -> None:
        """Take every parameter for a finite float."""
        for parameter in fields(self):
            number = numbers.real(getattr(self, parameter.name), parameter.name)
            object.__setattr__(self, parameter.name, number + 0.0)  # -0.0 and 0.0 are one value

    def _check_degree(self, most: int) -> None:
        """Take the degree for an integer from 0 to ``most``."""
        degree = numbers.integer(getattr(self, "degree"), "degree")  # noqa: B009 only some subclasses have one
        if not 0 <= degree <= most:
            raise ValueError(f"degree is {degree}, but {type(self).__name__} takes 0 to {most}")
        object.__setattr__(self, "degree", degree)


@dataclass(frozen=True)
class Identity(Elementwise):
    """``φ(x) = x``: a linear network."""

    name = "identity"


@dataclass(frozen=True)
class Relu(Elementwise):
    """``φ(x) = max(x, 0)``, with ``φ'(0) = 0``. Its kernels: Cho & Saul (2009)."""

    name = "relu"


@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """``φ(x) = max(x, 0) + slope · min(x, 0)``, with ``φ'(0) = slope``."""

    name = "leaky_relu"

    slope: float = 0.01

    def __post_init__(self) -> None:
        """Check the slope."""
        self._check_numbers()


@dataclass(frozen=True)
class Abs(Elementwise):
    """``φ(x) = |x|``, with ``φ'(0) = 0``."""

    name = "abs"


@dataclass(frozen=True)
class Erf(Elementwise):
    """``φ(x) = erf(x)``. Its kernels: Williams (1997)."""

    name = "erf"


@dataclass(frozen=True)
class Tanh(Elementwise):
    """``φ(x) = tanh(x)``. Kernels by a series (see :meth:`ntkrs.Kernel.error_bound`)."""

    name = "tanh"


@dataclass(frozen=True)
class Sigmoid(Elementwise):
    """``φ(x) = 1/(1 + e^{-x})``. Kernels by a series."""

    name = "sigmoid"


@dataclass(frozen=True)
class Silu(Elementwise):
    """``φ(x) = x/(1 + e^{-x})``, also called swish. Kernels by a series."""

    name = "silu"


@dataclass(frozen=True)
class Softplus(Elementwise):
    """``φ(x) = log(1 + e^x)``. Kernels by a series."""

    name = "softplus"


@dataclass(frozen=True)
class Mish(Elementwise):
    """``φ(x) = x tanh(log(1 + e^x))``. Kernels by a series."""

    name = "mish"


@dataclass(frozen=True)
class GeluTanh(Elementwise):
    """``φ(x) = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))``, the approximation of GELU. Kernels by a series."""

    name = "gelu_tanh"


@dataclass(frozen=True)
class Elu(Elementwise):
    """``φ(x) = x`` for x > 0 and ``alpha (e^x - 1)`` else, with ``φ'(0) = alpha``.

    Kernels by a series, with the kink as a power law: near-duplicate inputs keep their digits.
    """

    name = "elu"

    alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check alpha."""
        self._check_numbers()


@dataclass(frozen=True)
class Selu(Elementwise):
    """``φ(x) = 1.0507 Elu(1.6733)(x)``, which keeps mean 0 and variance 1. Kernels as for :class:`Elu`."""

    name = "selu"


@dataclass(frozen=True)
class Gelu(Elementwise):
    """``φ(x) = x Φ(x)``, with Φ the normal distribution function, not its tanh imitation. Tsuchida et al. (2021)."""

    name = "gelu"


@dataclass(frozen=True)
class Sin(Elementwise):
    """``φ(x) = a sin(bx + p)``.

    ``T = a²/2 [e^{-b²(q1+q2-2c)/2} - cos 2p e^{-b²(q1+q2+2c)/2}]``; Ṫ is b² times the sum. Sitzmann et al. (2020) for
    networks, Louart, Liao, Couillet (2018) for the kernel.

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
        If a parameter is no finite number.
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
    """``φ(x) = a cos(bx + p)``: :class:`Sin` with π/2 added to p, without its rounding.

    Parameters
    ----------
    a, b, p : float
        Amplitude, frequency and phase, as of :class:`Sin`.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no finite number.
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
    """``φ(x) = √2 sin(√(2γ) x + π/4)``, whose kernel is ``T = e^{-γ(q1+q2-2c)}``: the squared exponential.

    Rahimi & Recht (2007).

    Parameters
    ----------
    gamma : float
        γ, positive.

    Raises
    ------
    TypeError, ValueError
        If gamma is no positive finite number.
    """

    name = "rbf"

    gamma: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter."""
        object.__setattr__(self, "gamma", numbers.positive(self.gamma, "gamma"))


@dataclass(frozen=True)
class Exp(Elementwise):
    """``φ(x) = a e^{bx}``, whose kernel is ``T = a² e^{b²((q1+q2)/2 + c)}``. Mairal et al. (2014).

    Kernels grow like ``e^{2b²q}``, and those of two such layers like an exponential of an exponential: rows whose
    kernel leaves the range of float64 are refused.

    Parameters
    ----------
    a, b : float
        Factor and rate.

    Raises
    ------
    TypeError, ValueError
        If a parameter is no finite number.
    """

    name = "exp"

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameters."""
        self._check_numbers()


@dataclass(frozen=True)
class Gaussian(Elementwise):
    """``φ(x) = e^{-bx²}``, whose kernel is ``T = M^{-1/2}``, ``M = (1+2b q1)(1+2b q2) - 4b²c²``. Williams (1997).

    Parameters
    ----------
    b : float
        Positive.

    Raises
    ------
    TypeError, ValueError
        If b is no positive finite number.
    """

    name = "gaussian"

    b: float = 1.0

    def __post_init__(self) -> None:
        """Check the parameter."""
        object.__setattr__(self, "b", numbers.positive(self.b, "b"))


@dataclass(frozen=True)
class Sign(Elementwise):
    """``φ(x) = sign(x)``, 0 at 0, with ``φ' = 0``: the NTK is that of the last layer. ``T = 1 - 2θ/π``.

    Cho & Saul (2009).
    """

    name = "sign"


@dataclass(frozen=True)
class RectifiedPower(Elementwise):
    """``φ(x) = max(x, 0)^degree``; the step function, 0 at 0, for degree 0. Cho & Saul (2009): arc-cosine kernels.

    Parameters
    ----------
    degree : int
        From 0 to 16; 1 is :class:`Relu`.

    Raises
    ------
    TypeError, ValueError
        If the degree is no integer, or out of its range.
    """

    name = "rectified_power"

    degree: int

    def __post_init__(self) -> None:
        """Check the degree."""
        self._check_degree(16)


@dataclass(frozen=True)
class Monomial(Elementwise):
    """``φ(x) = x^degree``: a :class:`Polynomial` of one term.

    Parameters
    ----------
    degree : int
        From 0 to 32.

    Raises
    ------
    TypeError, ValueError
        If the degree is no integer, or out of its range.
    """

    name = "monomial"

    degree: int

    def __post_init__(self) -> None:
        """Check the degree."""
        self._check_degree(32)


@dataclass(frozen=True, init=False, repr=False)
class Polynomial(Elementwise):
    """``φ(x) = Σ_k coefficients[k] x^k``.

    ``T = Σ_l a_l(q1) a_l(q2) ρ^l`` with ``a_l(q) = E φ(√q z) he_l(z)``, he_l being the normalised Hermite polynomials.
    Daniely, Frostig, Singer (2016).

    Parameters
    ----------
    *coefficients : float
        From the constant on; at most 33.

    Raises
    ------
    TypeError, ValueError
        If a coefficient is no finite number, or there is none, or too many.

    Examples
    --------
    >>> Polynomial(0.0, 1.0, 0.5)
    Polynomial(0.0, 1.0, 0.5)
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
        """Return the name and the coefficients."""
        return self.name, self.coefficients


@dataclass(frozen=True)
class Hermite(Elementwise):
    """``φ(x) = He_n(x)/√n!``, the normalised Hermite polynomial of that degree: ``T = ρ^n`` where ``q1 = q2 = 1``.

    Daniely, Frostig, Singer (2016).

    Parameters
    ----------
    degree : int
        n, from 0 to 32.

    Raises
    ------
    TypeError, ValueError
        If the degree is no integer, or out of its range.
    """

    name = "hermite"

    degree: int

    def __post_init__(self) -> None:
        """Check the degree."""
        self._check_degree(32)


@dataclass(frozen=True)
class Activation(Elementwise):
    """Any function, given with its derivative: kernels at infinite width by series, finite networks layer by layer.

    Two of them are equal if their functions are. It is pickled as they are: by name.

    Parameters
    ----------
    fn : callable
        φ: takes an array of float64, (n,), and returns one of the same shape, each value of its own argument alone.
    derivative : callable
        φ', likewise. Smooth, or with a jump at 0: jumps elsewhere make errors, of which kernels warn and which
        :meth:`ntkrs.Kernel.error_bound` tells.

    Raises
    ------
    TypeError
        If one cannot be called.
    ValueError
        If one returns another shape, or anything but finite real numbers, or the derivative is not that of the
        function.

    Notes
    -----
    They are called by the calling thread alone, never by the threads that form products: for infinite width at some
    thousand points for each layer and octave of √Σ(x, x), for finite networks at all pre-activations of a layer, about
    65,000 at a time. Such networks run layer by layer, with φ and φ' on one thread; those of float32 round their
    pre-activations to float32. An ensemble of them takes one network after another.

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
    derivative: Callable[[Any], Any]

    def __post_init__(self) -> None:
        """Call both, and compare the derivative with differences."""
        for what in ("fn", "derivative"):
            if not callable(getattr(self, what)):
                raise TypeError(f"{what} is {getattr(self, what)!r}, but a function of an array is needed")
        x = np.linspace(-3.0, 3.0, 38)  # without 0, where there may be a kink
        step = 1e-5
        slopes = self._values("derivative", x)
        differences = (self._values("fn", x + step) - self._values("fn", x - step)) / (2 * step)
        # A central difference errs by a sixth of step² times the third derivative, and by ε/step of the function.
        errors = np.abs(differences - slopes) - 1e-5 * (1 + np.abs(slopes) + np.abs(self._values("fn", x)))
        worst = int(np.argmax(errors))
        if errors[worst] > 0:
            raise ValueError(
                f"derivative gives {slopes[worst]:.6g} at {x[worst]:.6g}, but fn has the slope "
                f"{differences[worst]:.6g} there: pass the derivative of fn"
            )

    def _values(self, what: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.asarray(getattr(self, what)(x.copy()))
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
        return self._values("fn", x), self._values("derivative", x)

    def spec(self) -> Spec:
        """Return the function that the core calls."""
        return self._value_and_slope


def by_name(name: str) -> Elementwise:
    """Return the activation of that name, with its default parameters.

    Raises
    ------
    ValueError
        If there is none, or it has a parameter without a default.
    """
    known = {cls.name: cls for cls in Elementwise.__subclasses__()}
    if name not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(f"activation is {name!r}, but must be one of {names}, or an activation object")
    cls = known[name]
    required = [field.name for field in fields(cls) if field.default is MISSING]
    if required:
        raise ValueError(
            f"activation is {name!r}, but {cls.__name__} has no default {required[0]}: "
            f"pass an object, {cls.__name__}(...)"
        )
    return cls()
