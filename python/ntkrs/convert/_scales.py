"""The scales of networks as other libraries initialise them, and filling them into converted architectures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ntkrs._architecture import layer_inputs
from ntkrs._checks import numbers
from ntkrs.activations import Sigmoid
from ntkrs.layers import Dense, Sequential

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ntkrs.activations import Elementwise
    from ntkrs.convert._standard import Standard

#: A scale: a number, or a function of the numbers n of inputs and m of outputs of a layer.
Scale: TypeAlias = float | Callable[[int, int], float]

#: The squares of scales that depend on the numbers n of inputs and m of outputs of a layer.
_SQUARES: dict[str, Callable[[int, int], float]] = {
    "1/(3n)": lambda n, _: 1 / (3 * n),
    "2n/(n + m)": lambda n, m: 2 * n / (n + m),
    "2/(n + m)": lambda n, m: 2 / (n + m),
    "2n/(3(n + m))": lambda n, m: 2 * n / (3 * (n + m)),
    "2/(3(n + m))": lambda n, m: 2 / (3 * (n + m)),
}


@dataclass(frozen=True)
class WidthScale:
    """A scale that depends on the numbers n of inputs and m of outputs of a layer.

    Parameters
    ----------
    square : str
        The formula of its square, such as ``"1/(3n)"``.

    Examples
    --------
    >>> from ntkrs.convert import init_scales
    >>> sigma_b = init_scales("torch").sigma_b
    >>> sigma_b
    WidthScale(square='1/(3n)')
    >>> sigma_b(12, 64) ** 2 == 1 / 36
    True
    """

    square: str

    def __call__(self, inputs: int, outputs: int) -> float:
        """Return the scale for a layer with these numbers of inputs and outputs."""
        return math.sqrt(_SQUARES[self.square](inputs, outputs))


class InitScales(NamedTuple):
    """The scales (σ_w, σ_b) that a library starts from: numbers, or functions of the widths of a layer.

    Attributes
    ----------
    sigma_w, sigma_b : float or WidthScale
        The scales. A :class:`WidthScale` is called with the numbers of inputs and outputs of a layer.

    Examples
    --------
    >>> import ntkrs
    >>> scales = ntkrs.convert.init_scales("flax")
    >>> scales
    InitScales(sigma_w=1.0, sigma_b=0.0)
    >>> ntkrs.Dense(64, *ntkrs.convert.init_scales("torch").of_layer(12, 64))
    Dense(width=64, sigma_w=0.5773502691896257, sigma_b=0.16666666666666666)
    """

    sigma_w: float | WidthScale
    sigma_b: float | WidthScale

    def of_layer(self, inputs: int, outputs: int) -> tuple[float, float]:
        """Return (σ_w, σ_b) for a layer with these numbers of inputs and outputs."""
        n, m = numbers.count(inputs, "inputs"), numbers.count(outputs, "outputs")
        return _number(self.sigma_w, n, m), _number(self.sigma_b, n, m)


#: The scales that each library starts from by default.
_LIBRARIES = {
    "torch": InitScales((1 / 3) ** 0.5, WidthScale("1/(3n)")),
    "keras": InitScales(WidthScale("2n/(n + m)"), 0.0),
    "flax": InitScales(1.0, 0.0),
    "sklearn": InitScales(WidthScale("2n/(n + m)"), WidthScale("2/(n + m)")),
}

#: The scales that scikit-learn starts from if the activation is "logistic".
_LOGISTIC = InitScales(WidthScale("2n/(3(n + m))"), WidthScale("2/(3(n + m))"))


def init_scales(library: str, activation: str | Elementwise = "relu") -> InitScales:
    """Return the scales (σ_w, σ_b) of the parameters that a library starts from by default.

    A layer with n inputs and m outputs is ``h = x V + c``. In the NTK parameterization it is
    ``h = σ_w/√n · x W + σ_b b`` with entries of variance 1, so ``σ_w² = n Var(V)`` and ``σ_b² = Var(c)``:

    ============  ==========================  =============  ==============  ===========
    library       V                           c              σ_w²            σ_b²
    ============  ==========================  =============  ==============  ===========
    ``torch``     U(±1/√n)                    U(±1/√n)       1/3             1/(3n)
    ``keras``     U(±√(6/(n + m)))            0              2n/(n + m)      0
    ``flax``      truncated normal, var. 1/n  0              1               0
    ``sklearn``   U(±√(6/(n + m)))            as V           2n/(n + m)      2/(n + m)
    ============  ==========================  =============  ==============  ===========

    Parameters
    ----------
    library : "torch", "keras", "flax" or "sklearn"
        The library: ``torch.nn.Linear``, ``keras.layers.Dense``, ``flax.linen.Dense`` (and ``flax.nnx.Linear``), or
        scikit-learn's ``MLPRegressor`` and ``MLPClassifier``.
    activation : str or activation
        The activation of the hidden layers. scikit-learn alone looks at it: with ``"logistic"``
        (:class:`ntkrs.Sigmoid`) its bounds are √(2/(n + m)), which makes σ_w² and σ_b² a third of the above.

    Returns
    -------
    InitScales
        A named tuple ``(sigma_w, sigma_b)``. A scale that depends on the widths is a function of n and m; its
        ``of_layer(n, m)`` gives two numbers. The tuple can be passed as ``scales=`` to every reader of this module.

    Raises
    ------
    ValueError
        If ``library`` is not one of the four.

    Notes
    -----
    Only the variances are the library's. A kernel at infinite width is that of Gaussian parameters: the limit is the
    same for any distribution with these variances, except for the first layer. Its n_0 inputs do not grow, so with
    uniform weights its pre-activations are not exactly Gaussian, and the limit differs slightly from the kernel.

    With a bias of 0 at the start that is trained all the same, as in Keras and Flax, readers make layers with
    ``sigma_b=0.0, tau_b=1.0``.

    References
    ----------
    ``torch.nn.Linear.reset_parameters`` (kaiming_uniform with a = √5); Glorot, Bengio (2010), equation 16, for Keras
    and ``BaseMultilayerPerceptron._init_coef`` of scikit-learn; ``jax.nn.initializers.lecun_normal`` for Flax, which
    makes up for its truncation, so that the variance is 1/n.

    Examples
    --------
    >>> import ntkrs
    >>> ntkrs.convert.init_scales("torch")
    InitScales(sigma_w=0.5773502691896257, sigma_b=WidthScale(square='1/(3n)'))
    >>> sigma_w, sigma_b = ntkrs.convert.init_scales("keras").of_layer(inputs=30, outputs=10)
    >>> round(sigma_w**2, 12), sigma_b
    (1.5, 0.0)
    """
    name = numbers.choice(library, "library", tuple(_LIBRARIES))
    logistic = isinstance(activation, Sigmoid) or activation in ("logistic", "sigmoid")
    return _LOGISTIC if name == "sklearn" and logistic else _LIBRARIES[name]


def filled(read: Standard, scales: Any, activation: str | None = None) -> Standard:
    """Return a network that was read with known scales; unchanged if ``scales`` is None.

    ``activation`` is that of a scikit-learn estimator, by default the one of the hidden layers.

    Raises
    ------
    TypeError, ValueError
        If ``scales`` is neither the name of a library nor a pair of scales.
    """
    if scales is None:
        return read
    rule = _rule(scales, read.arch.activations, activation)
    layers = list(read.arch.layers)
    inputs = layer_inputs(read.arch, read.weights[0].shape[0])
    for index, (dense, n) in enumerate(zip(read.arch.dense, inputs, strict=True)):
        layers[2 * index] = _with_scales(dense, *(_number(scale, n, dense.width) for scale in rule))
    return read._replace(arch=Sequential(*layers))


def _rule(scales: Any, activations: Sequence[Elementwise], activation: str | None) -> tuple[Scale, Scale]:
    """Return the pair (σ_w, σ_b) that a user passed by itself or by the name of a library."""
    if isinstance(scales, str):
        name = numbers.choice(scales, "scales", tuple(_LIBRARIES))
        return init_scales(name, activation or next((one for one in activations if isinstance(one, Sigmoid)), "relu"))
    if not isinstance(scales, tuple | list) or len(scales) != 2:
        known = ", ".join(map(repr, _LIBRARIES))
        raise TypeError(f"scales is {scales!r}, but must be {known}, or a pair (sigma_w, sigma_b)")
    return scales[0], scales[1]


def _number(scale: Scale, inputs: int, outputs: int) -> float:
    """Return a scale for a layer with these numbers of inputs and outputs."""
    return scale(inputs, outputs) if callable(scale) else scale


def _with_scales(dense: Dense, sigma_w: float, sigma_b: float) -> Dense:
    """Return a layer of unknown scales with these. Biases that start at 0 learn at the scale 1."""
    own, shift = numbers.positive(sigma_w, "scales[0]"), numbers.nonnegative(sigma_b, "scales[1]")
    if not dense.has_bias:
        return replace(dense, sigma_w=own, sigma_b=0.0)
    return replace(dense, sigma_w=own, sigma_b=shift, tau_b=None if shift else 1.0)
