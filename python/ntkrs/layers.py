"""Descriptions of networks: dense layers, and their sequence with activations.

They are values: frozen, hashable, compared by what they hold, picklable. They compute nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ntkrs._architecture import Architecture, Dense, Layer
from ntkrs._checks import numbers
from ntkrs._public import publish
from ntkrs.activations import Elementwise, by_name
from ntkrs.kernel import Kernel
from ntkrs.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from ntkrs._typing import Parameterization

__all__ = ["Architecture", "Dense", "Sequential", "mlp"]


@dataclass(frozen=True, init=False, repr=False)
class Sequential(Architecture):
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

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def __reduce__(self) -> tuple[type[Sequential], tuple[Layer, ...]]:
        return Sequential, self.layers

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
        return Network.random(self, in_features, rng, dtype)


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


publish(globals())
