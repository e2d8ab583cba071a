"""Descriptions of networks: dense layers, convolutions and pools, and sequences of them with activations in between.

They are values: frozen, hashable and picklable, and equal if they have the same contents. They compute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ntkrs._architecture import Architecture, Layer, made_by_sequential
from ntkrs._checks import numbers
from ntkrs._checks.advice import absent, other_names, shown
from ntkrs._layers import AvgPool, Conv, Dense, Flatten, GlobalAvgPool
from ntkrs._public import publish
from ntkrs.activations import Elementwise, by_name
from ntkrs.kernel import Kernel
from ntkrs.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from ntkrs._typing import Parameterization

#: The largest number of hidden layers of :func:`mlp`. The deepest networks that were ever trained have 10,000.
_MAX_DEPTH = 100_000

__all__ = ["Architecture", "AvgPool", "Conv", "Dense", "Flatten", "GlobalAvgPool", "Sequential", "mlp"]


@made_by_sequential
@dataclass(frozen=True, init=False, repr=False)
class Sequential(Architecture):
    """A network: layers in order, with an activation between each two that have weights.

    A multilayer perceptron alternates :class:`Dense` and activations. A convolutional network starts with one or more
    :class:`Conv`, each followed by an activation, and :class:`AvgPool` may follow any of these activations. Then comes
    one :class:`Flatten` or :class:`GlobalAvgPool`, and then Dense layers as in a multilayer perceptron. The kernel of
    such a network takes images (N, H, W, C).

    Parameters
    ----------
    *layers : Dense, Conv, AvgPool, Flatten, GlobalAvgPool, or activation
        The layers. The last is :class:`Dense`.

    Raises
    ------
    TypeError
        If a layer is none of these.
    ValueError
        If the layers do not have this order. The message names the layer that does not fit.

    Examples
    --------
    >>> from ntkrs import Dense, Relu, Sequential
    >>> arch = Sequential(Dense(512, sigma_w=1.5), Relu(), Dense(10))
    >>> arch
    Sequential(Dense(width=512, sigma_w=1.5, sigma_b=0.0), Relu(), Dense(width=10, sigma_w=1.0, sigma_b=0.0))
    >>> arch == Sequential(Dense(512, 1.5), Relu(), Dense(10))
    True
    """

    layers: tuple[Layer, ...]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def __reduce__(self) -> tuple[type[Sequential], tuple[Layer, ...]]:
        return Sequential, self.layers

    def kernel(self, parameterization: Parameterization = "ntk") -> Kernel:
        """Return the kernel of this architecture at infinite width.

        Parameters
        ----------
        parameterization : "ntk" or "standard"
            The parameters that are trained, as for :class:`~ntkrs.kernel.Kernel`. With "ntk" the widths are ignored.

        Raises
        ------
        ValueError
            As for :class:`~ntkrs.kernel.Kernel`.
        """
        return Kernel(self, parameterization)

    @other_names(seed="rng", key="rng", random_state="rng", n_features="in_features", input_shape="in_features")
    def init(
        self,
        in_features: int,
        rng: int | Sequence[int] | np.random.Generator = 0,
        dtype: DTypeLike = np.float64,
    ) -> Network:
        """Return a network of this architecture with every parameter drawn from N(0, 1).

        Only the biases of layers with ``tau_b`` have another scale: see :class:`Dense`.

        Parameters
        ----------
        in_features : int
            n_0, the number of input features.
        rng : int, sequence of int, or numpy.random.Generator
            A seed, or the generator to draw from.
        dtype : float64 or float32
            The dtype of the parameters, and of everything that is computed from them.

        Raises
        ------
        TypeError, ValueError
            If ``in_features`` is not a positive integer, ``rng`` is not a seed, the dtype is another one, the scales
            of a layer are unknown, or there is a Conv.
        MemoryError
            If the parameters do not fit in memory. None is drawn then.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import Dense, Sequential
        >>> net = Sequential(Dense(3)).init(in_features=2, rng=0)
        >>> bool(np.all(net.parameters == np.random.default_rng(0).standard_normal(6)))
        True
        """
        return Network.random(self, in_features, rng, dtype)


@absent(
    bias="Layers have biases where sigma_b is above 0.",
    use_bias="Layers have biases where sigma_b is above 0.",
    in_features="It is passed when parameters are drawn: arch.init(in_features).",
    hidden_layer_sizes="Hidden layers here are equal: depth of them, of this width. Build a Sequential for others.",
)
@other_names(
    W_std="sigma_w",
    b_std="sigma_b",
    nonlinearity="activation",
    phi="activation",
    n_layers="depth",
    hidden="width",
    out_features="outputs",
)
def mlp(
    depth: int,
    width: int,
    outputs: int,
    activation: str | Elementwise = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> Sequential:
    """Return a multilayer perceptron whose hidden layers are equal.

    Parameters
    ----------
    depth : int
        The number of hidden layers, at most 100,000; 0 gives a linear model.
    width : int
        The number of units in each hidden layer.
    outputs : int
        O, the number of outputs.
    activation : str or activation
        An object such as ``LeakyRelu(0.1)``, or the snake-case name of a class of :mod:`ntkrs.activations`, such as
        ``"leaky_relu"``, which then has default parameters.
    sigma_w, sigma_b : float
        Scales of the weights and biases, the same for all dense layers.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its domain, or there is no such activation.

    Examples
    --------
    >>> from ntkrs import Dense, Erf, Sequential, mlp
    >>> mlp(depth=1, width=64, outputs=2, activation="erf") == Sequential(Dense(64), Erf(), Dense(2))
    True
    """
    for size, name in ((depth, "depth"), (width, "width")):
        if np.ndim(size):
            raise TypeError(
                f"{name} is {shown(size)}, but one number is needed: hidden layers are equal. Build a Sequential for "
                "layers of different widths."
            )
    hidden = numbers.integer(depth, "depth")
    if hidden < 0:
        raise ValueError(f"depth is {hidden}, but the number of hidden layers is >= 0")
    if hidden > _MAX_DEPTH:
        raise ValueError(
            f"depth is {hidden}, but mlp makes at most {_MAX_DEPTH} hidden layers: each takes several kilobytes in a "
            "kernel, and deeper networks were never trained. Build a Sequential for more."
        )
    layer = by_name(activation) if isinstance(activation, str) else activation
    last = numbers.count(outputs, "outputs")
    numbers.positive(sigma_w, "sigma_w")  # Dense takes None for an unknown scale
    blocks: list[Layer] = [Dense(width, sigma_w, sigma_b), layer] * hidden
    return Sequential(*blocks, Dense(last, sigma_w, sigma_b))


publish(globals())
