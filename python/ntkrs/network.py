"""Finite networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs import _core, _empirical, _parameters, _training, _vector_products
from ntkrs._checks import arrays, numbers
from ntkrs.activations import Activation
from ntkrs.layers import check_architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from ntkrs._typing import Array, ArrayLike, Outputs, Parameterization
    from ntkrs.layers import Sequential

_OUTPUTS = ("full", "trace", "mean", "diagonal", "sum")

#: How many samples go forward at once: the activations of all their layers are kept meanwhile.
_FORWARD_ROWS = 4096


class Network:
    """A finite multilayer perceptron with its parameters θ, in the NTK parameterization.

    ::

        h^{l+1} = sigma_w/√n_l · x^l W^l + sigma_b b^l,    x^{l+1} = φ(h^{l+1}),    f(x) = h^L

    Its parameters do not change: :meth:`with_parameters` returns another network. All that it returns has the dtype
    of its parameters, and inputs are converted to it.

    A layer that is not ``trainable`` has its place in θ like any other. It is constant to all derivatives: its columns
    of the Jacobian are 0, so that ``Θ = J Jᵀ`` has nothing of it, :meth:`jvp` and :meth:`linearize` do not see its part
    of a direction, and :meth:`train` leaves it as it is. Where biases learn at a scale ``tau_b`` of their own, they are
    multiplied with that instead of ``sigma_b``, and drawn from N(0, (sigma_b/tau_b)²).

    Parameters
    ----------
    arch : Sequential
        The architecture.
    weights : sequence of (n_l, n_{l+1}) array_like
        One per dense layer. All float32: a float32 network, else a float64 one.
    biases : sequence of (n_{l+1},) array_like or None
        One per dense layer; None exactly where ``sigma_b`` is 0 (and ``tau_b``, if there is one). By default all None.

    Attributes
    ----------
    arch : Sequential
        The architecture.
    weights, biases : tuple of ndarray
        Read-only views of :attr:`parameters`.
    parameterization : str
        ``"ntk"``, or ``"standard"`` of a network from :meth:`from_standard`.

    Raises
    ------
    ValueError
        If there are too many or too few arrays, one has a shape that the architecture does not give it, or holds
        NaN or an infinity.
    TypeError
        If one is not made of real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Dense, Network, Relu, Sequential
    >>> net = Network(Sequential(Dense(2), Relu(), Dense(1)), [np.eye(2), np.ones((2, 1))])
    >>> bool(np.isclose(net([[3.0, -1.0]])[0, 0], 3 / 2))  # (3 + 0)/(√2 √2)
    True
    """

    def __init__(
        self,
        arch: Sequential,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> None:
        check_architecture(arch)
        in_features, theta = _parameters.flattened(arch, weights, biases)
        self._set(arch, in_features, theta, "ntk")

    def _set(self, arch: Sequential, in_features: int, theta: Array, parameterization: Parameterization) -> None:
        """Fill the fields from θ: weights and biases are views of it."""
        theta.flags.writeable = False
        weights, biases = zip(*_parameters.views(arch, in_features, theta), strict=True)
        self.arch: Sequential = arch
        self.parameterization: Parameterization = parameterization
        self.weights: tuple[Array, ...] = weights
        self.biases: tuple[Array | None, ...] = biases
        self._theta = theta
        self._core = self._scaled(1.0)

    def _scaled(self, alpha: float, *, unit_biases: bool = False) -> _core.Network:
        """Return the core's network of α f: α scales the last layer. ``unit_biases``: for b of N(0, 1), not b'."""
        scales = self._scales(unit_biases=unit_biases)
        weight_scale, bias_scale, tau_w, tau_b = scales[-1]
        scales[-1] = (alpha * weight_scale, alpha * bias_scale, alpha * tau_w, alpha * tau_b)
        activations = [activation.spec() for activation in self.arch.activations]
        return _core.Network((self.weights, self.biases), scales, activations)

    def _scales(self, *, unit_biases: bool = False) -> list[tuple[float, float, float, float]]:
        """Return the scales of W and b in each layer, and those of derivatives in them: the same, or 0."""
        scales = []
        for dense, weight in zip(self.arch.dense, self.weights, strict=True):
            root = weight.shape[0] ** 0.5
            bias_scale = dense.sigma_b if unit_biases else dense.bias_scale
            own = (dense.sigma_w / root, bias_scale) if self.parameterization == "ntk" else (1.0, 1.0)
            tau_w, tau_b = dense.learning_scales(self.parameterization, weight.shape[0])
            scales.append((*own, tau_w / root, tau_b))
        return scales

    @classmethod
    def _of(
        cls, arch: Sequential, in_features: int, theta: Array, parameterization: Parameterization = "ntk"
    ) -> Network:
        network = object.__new__(cls)
        network._set(arch, in_features, theta, parameterization)
        return network

    @classmethod
    def from_standard(
        cls,
        arch: Sequential,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> Network:
        """Return a network in the standard parameterization, that of trained models elsewhere.

        ::

            h^{l+1} = x^l V^l + c^l,    Θ_mn(x, x') = Σ_l (⟨x^l, x'^l⟩ + 1) ⟨δ^{l+1}_m, δ'^{l+1}_n⟩

        Its parameters, and with them its Jacobian, its kernel and its training, are V and c themselves. With
        ``V = sigma_w/√n W`` and ``c = sigma_b b`` it is the function of ``Network(arch, W, b)``.

        Parameters
        ----------
        arch : Sequential
            The architecture: widths and activations, and biases where ``sigma_b`` is not 0. Its scales have no effect.
        weights : sequence of (n_l, n_{l+1}) array_like
            V, one per dense layer: inputs by outputs. PyTorch holds their transposes.
        biases : sequence of (n_{l+1},) array_like or None
            c, one per dense layer; None exactly where ``sigma_b`` is 0, where the term 1 above is missing.

        Raises
        ------
        ValueError, TypeError
            As for :class:`Network`.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import Dense, Network, Relu, Sequential
        >>> net = Network.from_standard(Sequential(Dense(2), Relu(), Dense(1)), [np.eye(2), np.ones((2, 1))])
        >>> net([[3.0, -1.0]])
        array([[3.]])
        """
        check_architecture(arch)
        in_features, theta = _parameters.flattened(arch, weights, biases)
        return cls._of(arch, in_features, theta, "standard")

    @classmethod
    def random(
        cls,
        arch: Sequential,
        in_features: int,
        rng: int | Sequence[int] | np.random.Generator = 0,
        dtype: DTypeLike = np.float64,
    ) -> Network:
        """Return a network with parameters drawn at random: see :meth:`Sequential.init`."""
        inputs = numbers.count(in_features, "in_features")
        return cls._of(arch, inputs, _parameters.drawn(arch, inputs, numbers.generator(rng), numbers.dtype(dtype)))

    def __repr__(self) -> str:
        standard = ", parameterization='standard'" if self.parameterization == "standard" else ""
        return f"Network({self.arch!r}, in_features={self.in_features}, dtype={self.dtype}{standard})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.arch, self.in_features, self._theta, self.parameterization)

    @property
    def in_features(self) -> int:
        """n_0, the number of input features."""
        return int(self.weights[0].shape[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters and of all results."""
        return self._theta.dtype

    @property
    def parameters(self) -> Array:
        """θ, (P,), read-only: W^0 row-major, b^0, W^1, b^1, ...; no b where ``sigma_b`` is 0.

        All of them, of layers that are not trained, too.
        In the standard parameterization V and c stand in the places of W and b.
        """
        return self._theta

    def with_parameters(self, theta: ArrayLike) -> Network:
        """Return the network with other parameters.

        Parameters
        ----------
        theta : (P,) array_like
            In the layout of :attr:`parameters`. float32 gives a float32 network, all else a float64 one.

        Raises
        ------
        ValueError
            If it has another shape, or holds NaN or an infinity.
        """
        values = arrays.floating(theta, "theta")
        if values.shape != self._theta.shape:
            raise ValueError(f"theta has shape {values.shape}, but this network has {self._theta.shape} parameters")
        theta = arrays.finite(values, "theta").copy()
        return Network._of(self.arch, self.in_features, theta, self.parameterization)

    ntk = _empirical.ntk
    jvp = _vector_products.jvp
    vjp = _vector_products.vjp
    operator = _vector_products.operator
    linearize = _vector_products.linearize
    train = _training.train

    def __call__(self, X: ArrayLike) -> Array:
        """Return f(x) of every row of X.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O) ndarray

        Raises
        ------
        ValueError, TypeError
            If X has another number of features, holds NaN or an infinity, or is not made of real numbers.

        Notes
        -----
        N Σ_l n_l n_{l+1} multiply-adds. Activations are held for 4096 samples at a time.
        """
        x = self._batch(X, "X")
        out = arrays.output(None, (len(x), self.arch.outputs), self.dtype, [], "the network's output")
        if len(x) > _FORWARD_ROWS:
            x = arrays.finite(x.copy(), "X")  # the inputs at entry; the core takes each chunk's in its turn
        for start in range(0, max(len(x), 1), _FORWARD_ROWS):
            rows = slice(start, start + _FORWARD_ROWS)
            self._core.forward((x[rows], out[rows]))
        return out

    def jacobian(self, X: ArrayLike) -> Array:
        """Return ∂f_m(x_i)/∂θ, analytically.

        ::

            ∂f_m/∂W^l_ij = sigma_w/√n_l · x^l_i δ^{l+1}_{m,j}        ∂f_m/∂b^l_j = sigma_b δ^{l+1}_{m,j}

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O, P) ndarray
            The last axis is laid out as :attr:`parameters`. Where ``tau_b`` is given it stands for ``sigma_b``; columns
            of what is not trained are 0.

        Raises
        ------
        ValueError, TypeError
            As :meth:`__call__`.
        MemoryError
            If the result does not fit, before any work.

        Notes
        -----
        N·O·P numbers are written; :meth:`ntk` needs none of them.
        """
        x = self._batch(X, "X")
        shape = (len(x), self.arch.outputs, self._theta.size)
        out = arrays.output(None, shape, self.dtype, [], "the Jacobian")
        self._core.jacobian((x, out))
        return out

    def _swept(self) -> int:
        """How many numbers a sample leaves, forth and back; twice as many where Python functions are called ahead."""
        units = self.in_features + sum(2 * dense.width for dense in self.arch.dense)
        functions = any(isinstance(activation, Activation) for activation in self.arch.activations)
        return self.in_features + (2 if functions else 1) * units

    def _batch(self, values: ArrayLike, name: str) -> Array:
        return arrays.converted(arrays.batch(values, name), self.dtype, name)

    def _selection(self, outputs: Outputs) -> str | int:
        if isinstance(outputs, str):
            if outputs not in _OUTPUTS:
                known = ", ".join(map(repr, _OUTPUTS))
                raise ValueError(f"outputs is {outputs!r}, but must be one of {known}, or an integer")
            return outputs
        index = numbers.integer(outputs, "outputs")
        if not 0 <= index < self.arch.outputs:
            raise ValueError(f"outputs is {index}, but this network has outputs 0 to {self.arch.outputs - 1}")
        return index


def _restore(arch: Sequential, in_features: int, theta: Array, parameterization: Parameterization) -> Network:
    return Network._of(arch, in_features, theta, parameterization)  # noqa: SLF001 the class's own way back from a pickle
