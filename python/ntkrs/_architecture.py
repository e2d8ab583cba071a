"""Dense layers, and the architectures that kernels and networks are built from: layers, scales, layout of θ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias

from ntkrs import _display
from ntkrs._checks import numbers
from ntkrs._checks.advice import other_names, shown
from ntkrs.activations import Elementwise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ntkrs._typing import Array, Parameterization


@other_names(W_std="sigma_w", b_std="sigma_b", units="width", out_dim="width", out_features="width")
@dataclass(frozen=True, repr=False)
class Dense:
    """A dense layer, ``h = sigma_w/√n · x W + sigma_b · b``, with every entry of W and b drawn from N(0, 1).

    Here n is the number of inputs of the layer.

    Parameters
    ----------
    width : int
        The number of units. An infinite-width kernel ignores it.
    sigma_w : float or None
        Scale of the weights, positive. None if it is unknown, as in networks that :mod:`ntkrs.convert` reads: a trained
        model does not tell what its parameters were drawn from. Kernels at infinite width and ``init`` refuse such a
        layer. A network in the standard parameterization does not need its scales.
    sigma_b : float or None
        Scale of the biases; 0 for a layer without biases. None for a layer with biases if ``sigma_w`` is None.
    trainable : bool
        If False, the layer is not trained, and adds nothing to a tangent kernel. A finite network holds its parameters
        all the same, and derivatives with respect to them are 0.
    tau_b : float, optional
        Scale at which the biases learn, by default ``sigma_b``. If it is given, a finite network holds and trains b'
        with ``tau_b · b' = sigma_b · b``, drawn from N(0, (sigma_b/tau_b)²). With 0, it holds b and does not train it.
        Biases that start at 0 and are trained, as in Keras and Flax, have ``sigma_b=0.0, tau_b=1.0``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number, or out of its domain.

    Examples
    --------
    >>> from ntkrs import Dense, Sequential
    >>> Sequential(Dense(1, sigma_w=2.0, sigma_b=1.0)).kernel()([[3.0]])  # sigma_w² ⟨x,x'⟩/n_0 + sigma_b²
    array([[37.]])
    """

    width: int
    sigma_w: float | None = 1.0
    sigma_b: float | None = 0.0
    trainable: bool = True
    tau_b: float | None = None

    def __post_init__(self) -> None:
        """Check the arguments, and store numbers as int and float."""
        width = numbers.integer(self.width, "width")
        if width < 1:
            raise ValueError(f"width is {width}, but a dense layer has at least 1 unit")
        object.__setattr__(self, "width", width)
        self._check_scales()
        if not isinstance(self.trainable, bool):
            raise TypeError(f"trainable is {self.trainable!r}, but must be True or False")
        if self.tau_b is not None:
            tau_b = numbers.real(self.tau_b, "tau_b")
            if tau_b < 0:
                raise ValueError(f"tau_b is {tau_b}, but must be >= 0 (0: biases that are not trained)")
            object.__setattr__(self, "tau_b", None if tau_b == self.sigma_b else tau_b + 0.0)

    def _check_scales(self) -> None:
        """Check the scales, and store them as float, or None if they are unknown."""
        if self.sigma_w is None:
            if self.sigma_b not in (None, 0) or self.tau_b is not None:
                raise ValueError(
                    f"sigma_w is None, but sigma_b is {self.sigma_b!r} and tau_b is {self.tau_b!r}. Where sigma_w is "
                    "unknown, tau_b must be None too, and sigma_b None, or 0 for a layer without biases."
                )
            object.__setattr__(self, "sigma_b", None if self.sigma_b is None else 0.0)
            return
        if self.sigma_b is None:
            raise ValueError(f"sigma_b is None, but sigma_w is {self.sigma_w!r}: scales are known or unknown together")
        sigma_w, sigma_b = numbers.positive(self.sigma_w, "sigma_w"), numbers.real(self.sigma_b, "sigma_b")
        if sigma_b < 0:
            raise ValueError(f"sigma_b is {sigma_b}, but must be >= 0 (0: no biases)")
        object.__setattr__(self, "sigma_w", sigma_w)
        object.__setattr__(self, "sigma_b", sigma_b + 0.0)  # -0.0 and 0.0 are one value

    def __repr__(self) -> str:
        extras = "" if self.trainable else ", trainable=False"
        extras += "" if self.tau_b is None else f", tau_b={self.tau_b}"
        return f"Dense(width={self.width}, sigma_w={self.sigma_w}, sigma_b={self.sigma_b}{extras})"

    @property
    def has_bias(self) -> bool:
        """True if the layer has biases, whether or not they are trained."""
        return self.sigma_b is None or self.sigma_b > 0 or bool(self.tau_b)

    @property
    def scales(self) -> tuple[float, float]:
        """The scales (σ_w, σ_b).

        Raises
        ------
        ValueError
            If they are unknown. The message says which scales other libraries start from.
        """
        if self.sigma_w is None or self.sigma_b is None:
            raise ValueError(f"{self!r} has unknown scales. {UNKNOWN_SCALES}")
        return self.sigma_w, self.sigma_b

    @property
    def bias_scale(self) -> float:
        """The factor of the biases in a finite network: ``tau_b`` if it is given and not 0, otherwise ``sigma_b``."""
        return self.tau_b or self.scales[1]

    def learning_scales(self, parameterization: str, inputs: int) -> tuple[float, float]:
        """Return the learning scales (τ_w, τ_b) of a layer with n ``inputs``.

        The layer adds ``τ_w² ⟨x,x'⟩/n + τ_b²`` to a tangent kernel, where x and x' are its inputs.

        Raises
        ------
        ValueError
            If ``tau_b`` is given and not 1 and the parameterization is "standard", or if it is "ntk" and the scales are
            unknown.
        """
        if not self.trainable:
            return 0.0, 0.0
        if parameterization == "ntk":
            sigma_w, sigma_b = self.scales
            return sigma_w, sigma_b if self.tau_b is None else self.tau_b
        if self.tau_b not in (None, 1):
            raise ValueError(f"{self!r} has tau_b, but in standard parameters biases learn at the scale 1")
        return inputs**0.5, 1.0 if self.has_bias else 0.0

    def tied_scales(self, parameterization: str) -> tuple[bool, bool]:
        """Return a pair for the learning scales: True if τ_w equals σ_w and changes with it; the same for τ_b, σ_b."""
        ours = self.trainable and parameterization == "ntk"
        return ours, ours and self.tau_b is None


#: The part of messages that tells from which scales models start, and how to fill them in.
UNKNOWN_SCALES = (
    "A trained model does not tell what its parameters were drawn from. By default a layer of n inputs and m outputs "
    "starts in PyTorch from sigma_w² = 1/3 and sigma_b² = 1/(3n), in Keras from sigma_w² = 2n/(n + m) and biases of 0, "
    "in Flax from sigma_w² = 1 and biases of 0, in scikit-learn from sigma_w² = 2n/(n + m) and sigma_b² = 2/(n + m) (a "
    "third of both for logistic). ntkrs.convert.init_scales gives these. Pass scales='torch', 'keras', 'flax', "
    "'sklearn', or (sigma_w, sigma_b) to the function of ntkrs.convert that reads the model."
)

#: One layer of an architecture.
Layer: TypeAlias = Dense | Elementwise


class Architecture(ABC):
    """Alternating dense layers and activations: the abstract base of :class:`~ntkrs.layers.Sequential`.

    Attributes
    ----------
    layers : tuple of Dense or activation
        The layers. The first and the last are :class:`Dense`.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> from ntkrs.layers import Architecture
    >>> isinstance(mlp(depth=1, width=8, outputs=1), Architecture)
    True
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("a Sequential needs at least one Dense layer")
        for index, layer in enumerate(layers):
            if not isinstance(layer, Dense | Elementwise):
                raise TypeError(
                    f"layer {index} is {shown(layer)}, but a Dense or an activation is needed.{_instead_of(layer)}"
                )
            if isinstance(layer, Dense) != (index % 2 == 0):
                expected = "a Dense" if index % 2 == 0 else "an activation"
                raise ValueError(
                    f"layer {index} is {layer!r}, but {expected} is needed there: dense layers and activations "
                    "alternate. Use Identity() between two dense layers without an activation."
                )
        if len(layers) % 2 == 0:
            raise ValueError(
                f"the last layer is {layers[-1]!r}, but a Dense is needed: it makes the outputs. For a network that "
                "ends with its activation, add Dense(1, trainable=False): the kernels are those of its outputs."
            )
        object.__setattr__(self, "layers", layers)

    def __call__(self, *_: object) -> NoReturn:
        """Raise TypeError: an architecture has neither parameters nor inputs."""
        raise TypeError(
            "an architecture describes networks and computes nothing. Call its kernel, arch.kernel()(X), or a network "
            "with random parameters, arch.init(X.shape[1])(X)."
        )

    def _repr_html_(self) -> str:
        """Return a table of the layers, which notebooks show."""
        return _display.layers(f"{type(self).__name__}, {self.outputs} outputs", self)

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def activations(self) -> tuple[Elementwise, ...]:
        """The activations, in order: one fewer than the dense layers."""
        return tuple(layer for layer in self.layers if isinstance(layer, Elementwise))

    @property
    def outputs(self) -> int:
        """O, the number of outputs: the width of the last layer."""
        return self.dense[-1].width

    def with_width(self, width: int) -> Self:
        """Return this architecture with another width for all hidden layers.

        Raises
        ------
        TypeError, ValueError
            If the width is not a positive integer.
        """
        hidden = [replace(layer, width=width) if isinstance(layer, Dense) else layer for layer in self.layers[:-1]]
        return type(self)(*hidden, self.layers[-1])

    @abstractmethod
    def kernel(self, parameterization: Parameterization = "ntk") -> Any:
        """Return the kernel of this architecture at infinite width."""

    @abstractmethod
    def init(self, in_features: int, rng: Any = 0, dtype: Any = "float64") -> Any:
        """Return a network of this architecture with random parameters."""


def _instead_of(layer: object) -> str:
    """Return a hint at what to pass instead of something that is no layer, to be appended to a message."""
    if isinstance(layer, list | tuple):
        return " Pass the layers one by one: Sequential(*layers)."
    if isinstance(layer, str):
        return " Pass an activation object, such as Relu()."
    return " Did you forget the parentheses?" if isinstance(layer, type) else ""


def check_architecture(arch: object) -> None:
    """Raise TypeError unless ``arch`` is an architecture."""
    if not isinstance(arch, Architecture):
        raise TypeError(f"arch is {arch!r}, but a Sequential is needed, such as mlp(...)")


def check_scales(arch: Architecture, purpose: str) -> None:
    """Raise ValueError if the scales of a layer are unknown. ``purpose`` names what needs them, for the message."""
    for index, layer in enumerate(arch.layers):
        if isinstance(layer, Dense) and layer.sigma_w is None:
            raise ValueError(
                f"layer {index} is {layer!r}, whose sigma_w is unknown, but {purpose} needs it. {UNKNOWN_SCALES}"
            )


def layer_inputs(arch: Architecture, in_features: int) -> list[int]:
    """Return the number of inputs of each dense layer."""
    return [in_features, *(dense.width for dense in arch.dense[:-1])]


def layer_scales(
    arch: Architecture, in_features: int, parameterization: Parameterization = "ntk", *, unit_biases: bool = False
) -> list[tuple[float, float, float, float]]:
    """Return four factors for each dense layer: of W and b, and of the derivatives with respect to them.

    The factors of derivatives are those of W and b, or 0 for parameters that are not trained. If ``unit_biases``, the
    factor of the biases is that of b ~ N(0, 1) also in layers with ``tau_b``, instead of that of b'.
    """
    scales = []
    for dense, inputs in zip(arch.dense, layer_inputs(arch, in_features), strict=True):
        root = inputs**0.5
        own = (1.0, 1.0)
        if parameterization == "ntk":
            sigma_w, sigma_b = dense.scales
            own = sigma_w / root, sigma_b if unit_biases else dense.bias_scale
        tau_w, tau_b = dense.learning_scales(parameterization, inputs)
        scales.append((*own, tau_w / root, tau_b))
    return scales


def parameter_shapes(arch: Architecture, in_features: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the size and shape of W^0, b^0, W^1, ..., in the order in which they stand in θ."""
    for dense, inputs in zip(arch.dense, layer_inputs(arch, in_features), strict=True):
        yield inputs * dense.width, (inputs, dense.width)
        if dense.has_bias:
            yield dense.width, (dense.width,)


def parameter_views(arch: Architecture, in_features: int, theta: Array) -> Iterator[tuple[Array, Array | None]]:
    """Yield the weights and biases of each layer, as views of θ."""
    start = 0
    blocks = []
    for size, shape in parameter_shapes(arch, in_features):
        blocks.append(theta[start : start + size].reshape(shape))
        start += size
    remaining = iter(blocks)
    for dense in arch.dense:
        yield next(remaining), next(remaining) if dense.has_bias else None
