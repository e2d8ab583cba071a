"""The class of finite networks.

This file is longer than 400 lines because it is the one page of all public methods: signature, docstring, and a call of
the function in this folder that does the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ntkrs._architecture import check_dense, check_scales
from ntkrs._checks import numbers
from ntkrs._checks.advice import options_by_name, shown
from ntkrs._checks.elsewhere import NETWORK, Elsewhere
from ntkrs._runtime import display
from ntkrs.network import _forward, _ntk, _parameters, _training, _vector_products
from ntkrs.network._state import NetworkState

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, Loss, Outputs, Parameterization, Progress, Record
    from ntkrs._typing import Inputs as ArrayLike
    from ntkrs.network._training import History


class Network(Elsewhere):
    """A finite multilayer perceptron with parameters θ, in the NTK parameterization.

    ::

        h^{l+1} = sigma_w/√n_l · x^l W^l + sigma_b b^l,    x^{l+1} = φ(h^{l+1}),    f(x) = h^L

    Networks are immutable: :meth:`with_parameters` returns another one. Inputs are converted to the dtype of the
    parameters, and results have that dtype.

    A layer that is not ``trainable`` has its place in θ like any other, but counts as constant in all derivatives. Its
    columns of the Jacobian are 0, so ``Θ = J Jᵀ`` has no term from it. :meth:`jvp` and :meth:`linearize` ignore its
    part of a direction, and :meth:`train` does not change it. Biases with a learning scale ``tau_b`` are multiplied by
    that scale instead of ``sigma_b``, and drawn from N(0, (sigma_b/tau_b)²).

    Parameters
    ----------
    arch : Sequential
        The architecture.
    weights : sequence of (n_l, n_{l+1}) array_like
        W of each dense layer. If all weights and biases are float32, so is the network; otherwise it is float64.
    biases : sequence of (n_{l+1},) array_like or None, optional
        b of each dense layer; None for a layer without biases, where ``sigma_b`` is 0 and ``tau_b`` is not given or 0.
        By default None for all.

    Attributes
    ----------
    arch : Sequential
        The architecture.
    weights, biases : tuple of ndarray
        Read-only views of :attr:`parameters`.
    parameterization : str
        ``"ntk"``, or ``"standard"`` for a network from :meth:`from_standard`.

    Raises
    ------
    ValueError
        If the number of arrays or a shape does not match the architecture, an array holds NaN or an infinity, or the
        scales of a layer are unknown.
    TypeError
        If an array does not hold real numbers.

    Notes
    -----
    All methods check inputs X and Z as :meth:`__call__` does, and raise the same errors.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Dense, Network, Relu, Sequential
    >>> net = Network(Sequential(Dense(2), Relu(), Dense(1)), [np.eye(2), np.ones((2, 1))])
    >>> bool(np.isclose(net([[3.0, -1.0]])[0, 0], 3 / 2))  # (3 + 0)/(√2 √2)
    True
    """

    _ELSEWHERE = NETWORK

    def __init__(
        self,
        arch: Architecture,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> None:
        check_dense(arch, "Network")
        check_scales(arch, "Network, in the NTK parameterization,")
        self._state = NetworkState(arch, *_parameters.flattened(arch, weights, biases))

    @classmethod
    def from_standard(
        cls,
        arch: Architecture,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> Self:
        """Return a network in the standard parameterization, the usual one of trained models.

        ::

            h^{l+1} = x^l V^l + c^l,    Θ_mn(x, x') = Σ_l (⟨x^l, x'^l⟩ + 1) ⟨δ^{l+1}_m, δ'^{l+1}_n⟩

        Its Jacobian, kernel and training are with respect to the parameters V and c. With ``V = sigma_w/√n W`` and
        ``c = sigma_b b``, it is the same function as ``Network(arch, W, b)``.

        Parameters
        ----------
        arch : Sequential
            The architecture: widths, activations, and biases where ``sigma_b`` is not 0. Its scales have no effect, and
            may be unknown (``Dense(n, sigma_w=None, sigma_b=None)``).
        weights : sequence of (n_l, n_{l+1}) array_like
            V of each dense layer, inputs by outputs. PyTorch holds the transposes.
        biases : sequence of (n_{l+1},) array_like or None, optional
            c of each dense layer; None where ``sigma_b`` is 0. Such a layer has no term 1 in Θ.

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
        check_dense(arch, "Network.from_standard")
        return cls._from_state(NetworkState(arch, *_parameters.flattened(arch, weights, biases), "standard"))

    @classmethod
    def random(
        cls,
        arch: Architecture,
        in_features: int,
        rng: int | Sequence[int] | np.random.Generator = 0,
        dtype: DTypeLike = np.float64,
    ) -> Self:
        """Return ``arch.init(in_features, rng, dtype)``, a network with random parameters."""
        check_dense(arch, "init")
        if np.ndim(in_features):
            raise TypeError(f"in_features is {shown(in_features)}, but their number is needed: X.shape[1]")
        if isinstance(rng, tuple) and rng[:1] == (-1,):
            raise TypeError(
                f"rng is {rng}, a shape, but a seed is needed. Pass the number of features first: init({rng[-1]}, 0)"
            )
        inputs = numbers.count(in_features, "in_features")
        theta = _parameters.drawn(arch, inputs, numbers.generator(rng), numbers.dtype(dtype))
        return cls._from_state(NetworkState(arch, inputs, theta))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a network from a file that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        Network
            The network that was saved, with the same architecture, parameterization and dtype, and the same parameters
            to the last bit.

        Raises
        ------
        OSError
            If the file does not exist or cannot be read.
        ntkrs.DamagedFileError
            If the file is incomplete, or its arrays are not those of the network that it describes: other names,
            shapes or dtypes, NaN, an infinity.
        TypeError, ValueError
            If ``path`` is not a path, or the file holds no network, or was written by a later version.

        Notes
        -----
        Nothing in the file is run: the description is JSON, and the arrays are numbers, each of which is checked. The
        file is read, not mapped into memory.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np, ntkrs
        >>> net = ntkrs.mlp(depth=1, width=8, outputs=2, sigma_b=0.1).init(in_features=3, rng=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(Path(folder) / "net.safetensors")
        ...     same = ntkrs.Network.load(Path(folder) / "net.safetensors")
        >>> same.arch == net.arch, bool(np.all(same.parameters == net.parameters))
        (True, True)
        """
        from ntkrs.network import _saving  # with JSON it takes 3 ms to load

        return cls._from_state(_saving.load(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write this network to a file in the safetensors format, for :meth:`load`.

        Parameters
        ----------
        path : str or path
            The file, by convention ``*.safetensors``. An existing one is replaced. A crash leaves the old file or the
            new one, whole.

        Raises
        ------
        ImportError
            If the package safetensors is missing: ``pip install 'ntkrs[convert]'``.
        ValueError
            If an activation is a function of your own (:class:`ntkrs.Activation`): a file cannot hold it. The message
            says how to keep the network.
        TypeError
            If ``path`` is not a path.
        OSError
            If the file cannot be written.

        Notes
        -----
        The arrays are ``W0``, ``b0``, ``W1``, ..., as in the equations of this class, or ``V0``, ``c0``, ... in the
        standard parameterization. The architecture is JSON in the entry ``"ntkrs"`` of the metadata. For files that
        other libraries read, see :func:`ntkrs.convert.to_state_dict`.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import ntkrs
        >>> from safetensors.numpy import load_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ntkrs.mlp(depth=0, width=1, outputs=2).init(in_features=3).save(Path(folder) / "net.safetensors")
        ...     load_file(Path(folder) / "net.safetensors")["W0"].shape
        (3, 2)
        """
        from ntkrs.network import _saving

        _saving.save(self._state, path)

    @classmethod
    def _from_state(cls, state: NetworkState) -> Self:
        """Return the network that holds this state."""
        network = object.__new__(cls)
        network._state = state
        return network

    def __repr__(self) -> str:
        standard = ", parameterization='standard'" if self.parameterization == "standard" else ""
        return f"Network({self.arch!r}, in_features={self.in_features}, dtype={self.dtype}{standard})"

    def _repr_html_(self) -> str:
        """Return a table of the layers, which notebooks show."""
        count, inputs = len(self.parameters), self.in_features
        title = (
            f"Network: {inputs} features, {count:,} parameters, {self.dtype}, in the {self.parameterization} parameters"
        )
        return display.layers(title, self.arch)

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the arguments of :class:`NetworkState`: the core's network is built again from them."""
        state = self._state
        return state.arch, state.in_features, state.theta, state.parameterization

    def __dask_tokenize__(self) -> Any:
        """Return a token for Dask that networks with equal parameters share."""
        from dask.base import normalize_token

        return normalize_token((type(self), self.arch, self.in_features, self.parameterization, self.parameters))

    def __setstate__(self, fields: tuple[Any, ...]) -> None:
        self._state = NetworkState(*fields)

    @property
    def arch(self) -> Architecture:
        """The architecture of the network."""
        return self._state.arch

    @property
    def parameterization(self) -> Parameterization:
        """``"ntk"``, or ``"standard"`` for a network from :meth:`from_standard`."""
        return self._state.parameterization

    @property
    def weights(self) -> tuple[Array, ...]:
        """W of each dense layer, (n_l, n_{l+1}): read-only views of :attr:`parameters`."""
        return self._state.weights

    @property
    def biases(self) -> tuple[Array | None, ...]:
        """b of each dense layer, (n_{l+1},): read-only views of :attr:`parameters`, or None without biases."""
        return self._state.biases

    @property
    def in_features(self) -> int:
        """n_0, the number of input features."""
        return self._state.in_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters and of all results."""
        return self._state.dtype

    @property
    def parameters(self) -> Array:
        """θ, (P,), read-only: W^0 row by row, b^0, W^1, b^1, ..., without b where ``sigma_b`` is 0.

        It includes layers that are not trained. In the standard parameterization it holds V and c instead of W and b.
        """
        return self._state.theta

    def with_parameters(self, theta: ArrayLike) -> Network:
        """Return this network with other parameters.

        Parameters
        ----------
        theta : (P,) array_like
            θ, laid out as :attr:`parameters`. float32 gives a float32 network, everything else a float64 one.

        Raises
        ------
        ValueError
            If theta has another shape, or holds NaN or an infinity.
        """
        return Network._from_state(self._state.with_parameters(theta))

    def __call__(self, X: ArrayLike) -> Array:
        """Return f(x) for every row x of X.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O) ndarray

        Raises
        ------
        ValueError
            If X is not two-dimensional, has another number of features, or holds NaN or an infinity.
        TypeError
            If X does not hold real numbers.

        Notes
        -----
        N Σ_l n_l n_{l+1} multiply-adds. Activations are held for 4096 samples at a time.

        Examples
        --------
        >>> from ntkrs import mlp
        >>> net = mlp(depth=0, width=1, outputs=1).init(in_features=1, rng=0)
        >>> bool(net([[2.0]]) == 2 * net.parameters)  # a linear model, sigma_w/√n_0 · x W
        True
        """
        return _forward.forward(self._state, X)

    def jacobian(self, X: ArrayLike) -> Array:
        """Return the Jacobian ∂f_m(x_i)/∂θ.

        ::

            ∂f_m/∂W^l_ij = sigma_w/√n_l · x^l_i δ^{l+1}_{m,j}        ∂f_m/∂b^l_j = sigma_b δ^{l+1}_{m,j}

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O, P) ndarray
            The last axis is laid out as :attr:`parameters`. With ``tau_b``, it takes the place of ``sigma_b``. Columns
            of parameters that are not trained are 0.

        Raises
        ------
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        The time is that of writing N·O·P numbers. :meth:`ntk` needs none of them.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=2, width=8, outputs=2, activation="relu").init(3, rng=0), np.eye(3)
        >>> np.allclose(net.jacobian(X) @ net.parameters, 3 * net(X))  # f is homogeneous in each of three layers
        True
        """
        return _forward.jacobian(self._state, X)

    def input_jacobian(self, X: ArrayLike) -> Array:
        """Return the Jacobian with respect to the inputs, ∂f_m(x_i)/∂x.

        ::

            ∂f_m/∂x = sigma_w/√n_0 · W^0 δ^1_m

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        (N, O, n_0) ndarray
            All layers count, also those that are not trained. At a kink of an activation, φ' is that of its class.

        Raises
        ------
        ValueError
            If an entry exceeds the dtype.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        2 (1 + O) N P flops: a forward pass, and a backward pass for each output. At most 4096 rows of activations and
        of deltas are held.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=2, width=8, outputs=2, activation="relu").init(3, rng=0), np.eye(3)
        >>> np.allclose(np.einsum("imk,ik->im", net.input_jacobian(X), X), net(X))  # f is homogeneous in x
        True
        """
        return _forward.input_jacobian(self._state, X)

    def layers(self, X: ArrayLike) -> tuple[tuple[Array, Array], ...]:
        """Return the pre-activations and the activations of every hidden layer.

        ::

            pre = h^l = sigma_w/√n_{l-1} · x^{l-1} W^{l-1} + sigma_b b^{l-1},    post = x^l = φ(h^l)

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.

        Returns
        -------
        tuple of (pre, post)
            For each hidden layer a pair of (N, n_l) arrays. The outputs, which no activation follows, are ``net(X)``.

        Raises
        ------
        ValueError
            If a value exceeds the dtype.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        4 N P flops: pre-activations are computed a second time, because passes do not keep them.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=2, width=8, outputs=2, activation="relu").init(3, rng=0), np.eye(3)
        >>> (_, _), (pre, post) = net.layers(X)
        >>> np.array_equal(post, np.maximum(pre, 0)), np.allclose(net(X), post @ net.weights[-1] / 8**0.5)
        (True, True)
        """
        return _forward.layers(self._state, X)

    def nngp(self, X: ArrayLike, Z: ArrayLike | None = None) -> Array:
        """Return the empirical NNGP kernel Σ̂: the covariance of an output over draws of the last layer alone.

        ::

            Σ̂(x, x') = sigma_w²/n ⟨x^{L-1}, x'^{L-1}⟩ + sigma_b²

        with the scales of the last layer, whose n inputs are the activations x^{L-1}. For random networks
        ``Σ̂ → arch.kernel()(X, get="nngp")``, at a distance of order n^{-1/2}.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.

        Returns
        -------
        (N, M) ndarray

        Raises
        ------
        ValueError
            If the scales of the last layer are unknown.
        MemoryError
            If the result or the activations do not fit in memory. Nothing is computed then.

        Notes
        -----
        2 N M n flops after a forward and a backward pass. The parameters of the last layer have no effect.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> arch, X = mlp(depth=1, width=4096, outputs=1, activation="relu"), np.eye(3)
        >>> bool(abs(arch.init(3, rng=0).nngp(X) - arch.kernel()(X, get="nngp")).max() < 0.02)
        True
        """
        return _ntk.nngp(self._state, X, Z)

    def diag(self, X: ArrayLike, outputs: Outputs = "trace") -> Array:
        """Return the diagonal of the empirical NTK, Θ(x_i, x_i), without the rest of the kernel.

        ::

            trace:    Σ_m Θ_mm(x, x) = ‖∂f(x)/∂θ‖²

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        outputs : str or int
            As for :meth:`ntk`. The result has shape (N,), or (N, O) for ``"diagonal"`` and (N, O, O) for ``"full"``.

        Returns
        -------
        ndarray
            With the same bits as in ``ntk(X, outputs=outputs)``.

        Raises
        ------
        ValueError, TypeError
            If ``outputs`` is invalid, or a value exceeds the dtype.

        Notes
        -----
        The passes of :meth:`ntk`, and a kernel of 192 samples at a time: O(N) time and memory.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=1, width=8, outputs=2).init(3, rng=0), np.eye(3)
        >>> np.allclose(net.diag(X), (net.jacobian(X) ** 2).sum((1, 2)))
        True
        """
        return _ntk.diag(self._state, X, outputs)

    @options_by_name
    def ntk(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        outputs: Outputs = "full",
        per_layer: bool = False,
        out: NDArray[Any] | None = None,
        progress: Progress = None,
    ) -> Array:
        """Return the empirical NTK Θ(x, x') = ⟨∂f(x)/∂θ, ∂f(x')/∂θ⟩, without forming a Jacobian.

        ::

            Θ_mn(x, x') = Σ_l (sigma_w²/n_l ⟨x^l, x'^l⟩ + sigma_b²) ⟨δ^{l+1}_m, δ'^{l+1}_n⟩

        where l runs over the layers that are trained. If ``tau_b`` is given, it takes the place of ``sigma_b``.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        outputs : str or int
            The outputs m and n to return or to sum over, and so the shape of the result:

            - ``"full"``: Θ_mn, (N, M, O, O)
            - ``"diagonal"``: Θ_mm, (N, M, O)
            - ``"trace"``: Σ_m Θ_mm, (N, M)
            - ``"mean"``: Σ_m Θ_mm/O, (N, M)
            - ``"sum"``: the pseudo-NTK Σ_mn Θ_mn/O, (N, M)
            - an integer m: Θ_mm, (N, M)
        per_layer : bool
            If True, return the term of each layer l instead, with a leading axis of length L.
        out : ndarray, optional
            Array to write the result to, of its shape and dtype and with any strides.
        progress : callable or bool, optional
            A callable is called as ``progress(done, total)`` about every 50 ms; an exception that it raises ends the
            call. While done is 0, X and Z are still being read, and must not be changed. True shows a tqdm bar, False
            does not. By default a terminal or notebook shows one if the call takes over 2 s.

        Returns
        -------
        ndarray
            Its shape is given under ``outputs``.

        Raises
        ------
        ValueError, TypeError
            If ``outputs`` or ``out`` is invalid.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        Two Gram matrices per layer: Σ_l N·M (n_l + S² n_{l+1}) multiply-adds, half of them without Z. S² is O² for
        ``"full"``; O for ``"trace"``, ``"mean"`` and ``"diagonal"``; otherwise 1. At the last hidden layer it is 1 for
        ``"trace"`` and ``"mean"`` too.

        Activations and deltas of all samples are held, (2 + S) Σ_l n_l numbers per sample, where S is 1 for ``"sum"``
        and an integer, otherwise O. If they do not fit in memory beside the result, they are computed again for each
        pair of bands of samples. The result has the same bits.

        References
        ----------
        Jacot, Gabriel, Hongler (2018); Novak, Sohl-Dickstein, Schoenholz (2022).

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=1, width=8, outputs=2).init(3, rng=0), np.eye(3)
        >>> J = net.jacobian(X)
        >>> np.allclose(net.ntk(X), np.einsum("imp,jnp->ijmn", J, J))
        True
        """
        return _ntk.ntk(self._state, X, Z, outputs=outputs, per_layer=per_layer, out=out, progress=progress)

    def jvp(self, X: ArrayLike, v: ArrayLike) -> Array:
        """Return J v, the derivative of the outputs along a direction v in parameter space, without the Jacobian.

        ::

            (J v)_im = Σ_p ∂f_m(x_i)/∂θ_p v_p

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        v : (P,) or (K, P) array_like
            One direction, or K of them, laid out as :attr:`parameters`.

        Returns
        -------
        (N, O) or (K, N, O) ndarray

        Raises
        ------
        ValueError, TypeError
            If v has another shape, holds NaN or an infinity, or does not hold real numbers.

        Notes
        -----
        (2 + 4 K) N P flops. The activations of one band of samples are held, and their derivatives along K directions.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=1, width=8, outputs=2).init(3, rng=0), np.eye(3)
        >>> np.allclose(net.jvp(X, net.parameters), net.jacobian(X) @ net.parameters)
        True
        """
        return _vector_products.jvp(self._state, X, v)

    def vjp(self, X: ArrayLike, u: ArrayLike) -> Array:
        """Return Jᵀ u, the gradient of a weighted sum of the outputs, without the Jacobian.

        ::

            (Jᵀ u)_p = Σ_im u_im ∂f_m(x_i)/∂θ_p

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        u : (N, O) or (K, N, O) array_like
            One set of weights, or K of them.

        Returns
        -------
        (P,) or (K, P) ndarray
            Laid out as :attr:`parameters`.

        Raises
        ------
        ValueError, TypeError
            If u has another shape, holds NaN or an infinity, or does not hold real numbers.
        MemoryError
            If activations and deltas do not fit in memory. Nothing is computed then.

        Notes
        -----
        6 K N P flops. The activations and deltas of all samples are held.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net = mlp(depth=1, width=8, outputs=2).init(3, rng=0)
        >>> X, u, v = np.eye(3), np.ones((3, 2)), net.parameters
        >>> bool(np.isclose(np.sum(u * net.jvp(X, v)), net.vjp(X, u) @ v))  # ⟨u, J v⟩ = ⟨Jᵀ u, v⟩
        True
        """
        return _vector_products.vjp(self._state, X, u)

    def loss_gradient(self, X: ArrayLike, y: ArrayLike, loss: Loss = "mse") -> Array:
        """Return the gradient of a loss with respect to θ, ``Jᵀ ∂L/∂f``.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs, N >= 1.
        y : (N, O) or (N,) array_like
            Targets, as for :meth:`train`.
        loss : str
            ``"mse"``: ``L = 1/(2NO) Σ (f − y)²``; ``"softmax_cross_entropy"``: ``L = −1/N Σ y log softmax(f)``.

        Returns
        -------
        (P,) ndarray
            Laid out as :attr:`parameters`. Entries of parameters that are not trained are 0.

        Raises
        ------
        ValueError, TypeError
            If the targets do not fit, or a value exceeds the dtype.
        MemoryError
            If activations and deltas do not fit in memory. Nothing is computed then.

        Notes
        -----
        6 N P flops. The activations and deltas of all samples are held.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X, y = mlp(depth=1, width=8, outputs=1).init(2, rng=0), np.eye(2), [1.0, -1.0]
        >>> trained, _ = net.train(X, y, learning_rate=0.5, steps=1)
        >>> np.allclose(trained.parameters, net.parameters - 0.5 * net.loss_gradient(X, y))
        True
        """
        return _training.loss_gradient(self._state, X, y, loss)

    def operator(self, X: ArrayLike, outputs: Outputs = "full") -> Any:
        """Return the empirical NTK on X as a linear operator: products Θ v, without forming Θ.

        ::

            Θ v = J (Jᵀ v)

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        outputs : str or int
            As for :meth:`ntk`. ``"full"`` and ``"diagonal"`` act on vectors of N·O numbers, where sample i and output
            m have the index ``i * O + m``; ``"diagonal"`` does not mix outputs. The others act on vectors of N numbers.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            It is symmetric. A product with a matrix takes one vector product per column or, for many columns, forms the
            kernel in blocks of rows, whichever is cheaper. ``.columns(indices)`` returns columns (n, m), and
            ``.diagonal()`` the diagonal (n,), to the last bit those of :meth:`ntk`.

        Raises
        ------
        ValueError, TypeError
            If ``outputs`` is invalid.

        Notes
        -----
        12 N P flops per product, O times as many for ``"trace"``, ``"mean"`` and ``"diagonal"``. No N² memory.

        References
        ----------
        Novak, Sohl-Dickstein, Schoenholz (2022).

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net, X = mlp(depth=1, width=8, outputs=2).init(3, rng=0), np.eye(3)
        >>> np.allclose(net.operator(X, outputs="trace") @ np.ones(3), net.ntk(X, outputs="trace") @ np.ones(3))
        True
        """
        return _vector_products.operator(self._state, X, outputs)

    def linearize(self, order: int = 1) -> Callable[[ArrayLike, ArrayLike], Array]:
        """Return the Taylor polynomial of the network in its parameters, around its own θ_0.

        ::

            f_lin(x; θ) = f(x; θ_0) + J(x) (θ − θ_0)  [ + ½ D²f(x) (θ − θ_0, θ − θ_0)  if order = 2 ]

        Parameters
        ----------
        order : 1 or 2
            The degree: 1 is the linearization.

        Returns
        -------
        callable
            ``f_lin(X, theta)``, (N, O), for inputs X (N, n_0) and parameters theta (P,); (K, N, O) for theta (K, P).

        Raises
        ------
        ValueError
            If order is neither 1 nor 2, or it is 2 and an activation is a Python function: it has no second derivative.

        Notes
        -----
        6 N P flops for each theta, and 10 N P more, in NumPy, for the second order. At a kink, φ'' counts as that of
        one side, so a ReLU network has the second order of its linear piece.

        References
        ----------
        Lee, Xiao et al. (2019); Bai & Lee (2020) for the second order.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net = mlp(depth=1, width=8, outputs=2).init(3, rng=0)
        >>> np.array_equal(net.linearize()(np.eye(3), net.parameters), net(np.eye(3)))
        True
        """
        return _vector_products.linearize(self._state, order)

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        learning_rate: float,
        steps: int,
        momentum: float = 0.0,
        loss: Loss = "mse",
        record_every: int | None = None,
        *,
        alpha: float = 1.0,
        centred: bool = False,
        record: Iterable[Record] = (),
        progress: Progress = None,
    ) -> tuple[Network, History]:
        """Train the network on the whole batch, by gradient descent or heavy ball.

        ::

            v ← momentum · v − learning_rate · ∂L/∂θ,    θ ← θ + v,    v_0 = 0

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs, N >= 1.
        y : (N, O) or (N,) array_like
            Targets; (N,) if O = 1. For the cross-entropy, (N,) integer labels or (N, O) probabilities.
        learning_rate : float
            Positive. On the square loss, training converges below ``2 (1 + momentum) N O / λ_max(Θ)`` as long as Θ
            stays constant: see :func:`ntkrs.predict.max_learning_rate`.
        steps : int
            The number of steps.
        momentum : float
            In [0, 1). 0 is gradient descent.
        loss : str
            ``"mse"``: ``L = 1/(2NO) Σ (f − y)²``; ``"softmax_cross_entropy"``: ``L = −1/N Σ y log softmax(f)``.
        record_every : int, optional
            Number of steps between two records. By default only the first state and the last are recorded.
        alpha : float
            Scale α of the model. α f is trained on ``L/α²``, so that its speed in function space does not depend on α.
            A large α makes training lazy if the model starts at 0. α multiplies rounding errors of f, so it must be
            between 1e-6 and 0.01/ε, where ε is that of the dtype.
        centred : bool
            If True, train ``α (f − f_0)``, where f_0 is this network. The model starts at exactly 0 and has the kernel
            of f. Its predictions are ``alpha * (trained(Z) - net(Z))``.
        record : iterable of str
            Further values to record: ``"outputs"``, ``"kernel_drift"``.
        progress : callable or bool, optional
            As for :meth:`ntk`, but counting steps.

        Returns
        -------
        Network
            The trained network. This one does not change.
        History
            The recorded values, a named tuple of arrays.

        Raises
        ------
        ValueError, TypeError
            If an argument is out of its domain.
        ntkrs.DivergenceError
            If training diverges: a ValueError that names the step.
        MemoryError
            If activations, gradients and records do not fit in memory. Nothing is computed then.

        Warns
        -----
        ntkrs.StalledTrainingWarning
            If from some step on the gradient is exactly 0, biases of the last layer apart, but the loss is not: a step
            that was too long has killed all units, so that no output depends on its input. The warning names the step.

        Notes
        -----
        6 N P flops per step. Activations and deltas of all layers are held for all samples. Recording the drift costs
        one kernel per record, and the memory of N² O² numbers.

        References
        ----------
        Lee, Xiao et al. (2019); Chizat, Oyallon, Bach (2019) for ``alpha``.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net = mlp(depth=1, width=64, outputs=1).init(2, rng=0)
        >>> trained, history = net.train(np.eye(2), [1.0, -1.0], learning_rate=1.0, steps=200)
        >>> bool(history.loss[-1] < 1e-6 < history.loss[0])
        True
        """
        state, history = _training.train(
            self._state,
            X,
            y,
            learning_rate,
            steps,
            momentum=momentum,
            loss=loss,
            record_every=record_every,
            alpha=alpha,
            centred=centred,
            record=record,
            progress=progress,
        )
        return Network._from_state(state), history
