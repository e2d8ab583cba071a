"""Descriptions of networks: dense layers, and their sequence with activations.

They are values: frozen, hashable, compared by what they hold, picklable. They compute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ntkrs._checks import numbers
from ntkrs.activations import Elementwise, by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from ntkrs._typing import Parameterization
    from ntkrs.kernel import Kernel
    from ntkrs.network import Network


@dataclass(frozen=True, repr=False)
class Dense:
    """A dense layer ``h = sigma_w/√n · x W + sigma_b · b``, with every entry of W and b drawn from N(0, 1).

    Parameters
    ----------
    width : int
        The number of units. An infinite-width kernel ignores it.
    sigma_w : float
        Scale of the weights, positive.
    sigma_b : float
        Scale of the biases. 0: the layer has none.
    trainable : bool
        Whether the layer is trained. One that is not adds nothing to a tangent kernel; a finite network holds its
        parameters like others, and derivatives in them are 0.
    tau_b : float, optional
        Scale at which the biases learn: ``sigma_b · b = tau_b · b'``, and b' is trained. A finite network holds b',
        drawn from N(0, (sigma_b/tau_b)²). By default sigma_b. 0: they are drawn like others, and not trained.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number, or out of its domain.
    """

    width: int
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    trainable: bool = True
    tau_b: float | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        width = numbers.integer(self.width, "width")
        if width < 1:
            raise ValueError(f"width is {width}, but a dense layer has at least 1 unit")
        sigma_w, sigma_b = numbers.positive(self.sigma_w, "sigma_w"), numbers.real(self.sigma_b, "sigma_b")
        if sigma_b < 0:
            raise ValueError(f"sigma_b is {sigma_b}, but must be >= 0 (0: no biases)")
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "sigma_w", sigma_w)
        object.__setattr__(self, "sigma_b", sigma_b + 0.0)  # -0.0 and 0.0 are one value
        if not isinstance(self.trainable, bool):
            raise TypeError(f"trainable is {self.trainable!r}, but must be True or False")
        if self.tau_b is not None:
            tau_b = numbers.real(self.tau_b, "tau_b")
            if tau_b < 0:
                raise ValueError(f"tau_b is {tau_b}, but must be >= 0 (0: biases that are not trained)")
            object.__setattr__(self, "tau_b", None if tau_b == self.sigma_b else tau_b + 0.0)

    def __repr__(self) -> str:
        extras = "" if self.trainable else ", trainable=False"
        extras += "" if self.tau_b is None else f", tau_b={self.tau_b}"
        return f"Dense(width={self.width}, sigma_w={self.sigma_w}, sigma_b={self.sigma_b}{extras})"

    @property
    def has_bias(self) -> bool:
        """Whether the layer has biases, drawn or trained."""
        return self.sigma_b > 0 or bool(self.tau_b)

    @property
    def bias_scale(self) -> float:
        """What the biases of a finite network are multiplied with: that at which they learn, if they do."""
        return self.tau_b or self.sigma_b

    def learning_scales(self, parameterization: str, inputs: int) -> tuple[float, float]:
        """Return (τ_w, τ_b): the layer adds ``τ_w² ⟨x,x'⟩/n + τ_b²`` to a tangent kernel, n being its ``inputs``.

        Raises
        ------
        ValueError
            If the biases have a learning scale of their own, and the parameterization has none.
        """
        if not self.trainable:
            return 0.0, 0.0
        if parameterization == "ntk":
            return self.sigma_w, self.sigma_b if self.tau_b is None else self.tau_b
        if self.tau_b is not None:
            raise ValueError(f"{self!r} has tau_b, but in standard parameters biases learn at the scale 1")
        return inputs**0.5, 1.0 if self.sigma_b else 0.0

    def learning_follows(self, parameterization: str) -> tuple[bool, bool]:
        """Whether τ_w and τ_b of :meth:`learning_scales` are σ_w and σ_b, and change with them."""
        ours = self.trainable and parameterization == "ntk"
        return ours, ours and self.tau_b is None


#: One element of a :class:`Sequential`.
Layer: TypeAlias = Dense | Elementwise


@dataclass(frozen=True, init=False, repr=False)
class Sequential:
    """A multilayer perceptron: dense layers with an activation between each two.

    Parameters
    ----------
    *layers : Dense or activation
        Starts and ends with a :class:`Dense`; the two kinds alternate.

    Raises
    ------
    TypeError
        If a layer is something else.
    ValueError
        If they do not alternate.

    Examples
    --------
    >>> from ntkrs import Relu
    >>> arch = Sequential(Dense(512, sigma_w=1.5), Relu(), Dense(10))
    >>> arch
    Sequential(Dense(width=512, sigma_w=1.5, sigma_b=0.0), Relu(), Dense(width=10, sigma_w=1.0, sigma_b=0.0))
    >>> arch == Sequential(Dense(512, 1.5), Relu(), Dense(10))
    True
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("a Sequential needs at least one Dense layer")
        for index, layer in enumerate(layers):
            if not isinstance(layer, Dense | Elementwise):
                hint = " Did you forget the parentheses?" if isinstance(layer, type) else ""
                raise TypeError(f"layer {index} is {layer!r}, but a Dense or an activation is needed.{hint}")
            if isinstance(layer, Dense) != (index % 2 == 0):
                expected = "a Dense" if index % 2 == 0 else "an activation"
                raise ValueError(
                    f"layer {index} is {layer!r}, but {expected} is needed there: dense layers and activations "
                    "alternate. Use Identity() between two dense layers without an activation."
                )
        if len(layers) % 2 == 0:
            raise ValueError(f"the last layer is {layers[-1]!r}, but a Dense is needed: it makes the outputs")
        object.__setattr__(self, "layers", layers)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def __reduce__(self) -> tuple[type[Sequential], tuple[Layer, ...]]:
        return Sequential, self.layers

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def activations(self) -> tuple[Elementwise, ...]:
        """The activations, in order: one less than dense layers."""
        return tuple(layer for layer in self.layers if isinstance(layer, Elementwise))

    @property
    def outputs(self) -> int:
        """O, the width of the last layer."""
        return self.dense[-1].width

    def with_width(self, width: int) -> Sequential:
        """Return the architecture with all hidden layers of that width, and all else as it is.

        Raises
        ------
        TypeError, ValueError
            If the width is no positive integer.
        """
        hidden = [replace(layer, width=width) if isinstance(layer, Dense) else layer for layer in self.layers[:-1]]
        return Sequential(*hidden, self.layers[-1])

    def kernel(self, parameterization: Parameterization = "ntk") -> Kernel:
        """Return the kernels of this network at infinite width.

        Parameters
        ----------
        parameterization : "ntk" or "standard"
            In which parameters the tangent kernel is taken: see :class:`~ntkrs.kernel.Kernel`. With "ntk" the widths
            are ignored.

        Raises
        ------
        ValueError
            If the parameterization is another one.
        """
        from ntkrs.kernel import Kernel

        return Kernel(self, parameterization)

    def init(
        self,
        in_features: int,
        rng: int | Sequence[int] | np.random.Generator = 0,
        dtype: DTypeLike = np.float64,
    ) -> Network:
        """Return a network of this architecture with every parameter drawn from N(0, 1), but for biases with ``tau_b``.

        Parameters
        ----------
        in_features : int
            n_0, the number of input features.
        rng : int or numpy.random.Generator
            A seed, or the generator to draw from.
        dtype : float64 or float32
            The dtype of the parameters, and of all that is computed from them.

        Raises
        ------
        TypeError, ValueError
            If ``in_features`` is no positive integer, or the dtype another one.
        MemoryError
            If the parameters do not fit, before any is drawn.
        """
        from ntkrs.network import Network

        return Network.random(self, in_features, rng, dtype)


def check_architecture(arch: object) -> None:
    """Raise TypeError unless ``arch`` is a Sequential."""
    if not isinstance(arch, Sequential):
        raise TypeError(f"arch is {arch!r}, but a Sequential is needed, such as mlp(...)")


def mlp(
    depth: int,
    width: int,
    outputs: int,
    activation: str | Elementwise = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> Sequential:
    """Return a multilayer perceptron of equal hidden layers.

    Parameters
    ----------
    depth : int
        The number of hidden layers; 0 is a linear model.
    width : int
        Units of each hidden layer.
    outputs : int
        O, the units of the last layer.
    activation : str or activation
        An object such as ``LeakyRelu(0.1)``, or the name of a class of :mod:`ntkrs.activations` in snake case, such as
        ``"relu"`` or ``"leaky_relu"``, for one with default parameters.
    sigma_w, sigma_b : float
        Scales of weights and biases, the same in all dense layers.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its domain, or the activation unknown.

    Examples
    --------
    >>> from ntkrs import Erf
    >>> mlp(depth=1, width=64, outputs=2, activation="erf") == Sequential(Dense(64), Erf(), Dense(2))
    True
    """
    hidden = numbers.integer(depth, "depth")
    if hidden < 0:
        raise ValueError(f"depth is {hidden}, but the number of hidden layers is >= 0")
    layer = by_name(activation) if isinstance(activation, str) else activation
    last = numbers.count(outputs, "outputs")
    blocks: list[Layer] = [Dense(width, sigma_w, sigma_b), layer] * hidden
    return Sequential(*blocks, Dense(last, sigma_w, sigma_b))
