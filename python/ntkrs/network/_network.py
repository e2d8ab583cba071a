"""The class of finite networks: every method that users call, and the function of this folder that does its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ntkrs._architecture import check_architecture
from ntkrs._checks import numbers
from ntkrs.network import _forward, _ntk, _parameters, _training, _vector_products
from ntkrs.network._state import NetworkState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, ArrayLike, Loss, Outputs, Parameterization, Progress, Record
    from ntkrs.network._training import History


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
        arch: Architecture,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> None:
        check_architecture(arch)
        self._state = NetworkState(arch, *_parameters.flattened(arch, weights, biases))

    @classmethod
    def from_standard(
        cls,
        arch: Architecture,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike | None] | None = None,
    ) -> Self:
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
        return cls._from_state(NetworkState(arch, *_parameters.flattened(arch, weights, biases), "standard"))

    @classmethod
    def random(
        cls,
        arch: Architecture,
        in_features: int,
        rng: int | Sequence[int] | np.random.Generator = 0,
        dtype: DTypeLike = np.float64,
    ) -> Self:
        """Return a network with parameters drawn at random: see :meth:`Sequential.init`."""
        inputs = numbers.count(in_features, "in_features")
        theta = _parameters.drawn(arch, inputs, numbers.generator(rng), numbers.dtype(dtype))
        return cls._from_state(NetworkState(arch, inputs, theta))

    @classmethod
    def _from_state(cls, state: NetworkState) -> Self:
        network = object.__new__(cls)
        network._state = state
        return network

    def __repr__(self) -> str:
        standard = ", parameterization='standard'" if self.parameterization == "standard" else ""
        return f"Network({self.arch!r}, in_features={self.in_features}, dtype={self.dtype}{standard})"

    def __getstate__(self) -> tuple[Any, ...]:
        state = self._state
        return state.arch, state.in_features, state.theta, state.parameterization

    def __setstate__(self, fields: tuple[Any, ...]) -> None:
        self._state = NetworkState(*fields)

    @property
    def arch(self) -> Architecture:
        """The architecture."""
        return self._state.arch

    @property
    def parameterization(self) -> Parameterization:
        """``"ntk"``, or ``"standard"`` of a network from :meth:`from_standard`."""
        return self._state.parameterization

    @property
    def weights(self) -> tuple[Array, ...]:
        """W of each dense layer, (n_l, n_{l+1}): read-only views of :attr:`parameters`."""
        return self._state.weights

    @property
    def biases(self) -> tuple[Array | None, ...]:
        """b of each dense layer, (n_{l+1},), read-only views of :attr:`parameters`; None where it has no biases."""
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
        """θ, (P,), read-only: W^0 row-major, b^0, W^1, b^1, ...; no b where ``sigma_b`` is 0.

        All of them, of layers that are not trained, too.
        In the standard parameterization V and c stand in the places of W and b.
        """
        return self._state.theta

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
        return Network._from_state(self._state.with_parameters(theta))

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
        return _forward.forward(self._state, X)

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
        return _forward.jacobian(self._state, X)

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
        """Return the empirical NTK Θ(x, x') = ⟨∂f(x)/∂θ, ∂f(x')/∂θ⟩, without a Jacobian.

        ::

            Θ_mn(x, x') = Σ_l (sigma_w²/n_l ⟨x^l, x'^l⟩ + sigma_b²) ⟨δ^{l+1}_m, δ'^{l+1}_n⟩

        summed over the layers that are trained; with ``tau_b²`` for ``sigma_b²``, where it is given.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        outputs : str or int
            ``"full"``: (N, M, O, O); ``"trace"``: Σ_m Θ_mm, (N, M); ``"mean"``: the trace over O, (N, M);
            ``"diagonal"``: Θ_mm, (N, M, O); ``"sum"``: Σ_mn Θ_mn/O, the pseudo-NTK, (N, M); an integer m: Θ_mm, (N, M).
        per_layer : bool
            Whether to return the summands of the formula instead, with a leading axis of length L.
        out : ndarray, optional
            Where to write the result, of its shape and dtype, with any strides.
        progress : callable or bool, optional
            A callable is called as ``progress(done, total)`` about every 50 ms; what it raises ends the call. True
            shows a bar of tqdm, False none; by default a terminal sees one when the call takes longer than 2 s.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As :meth:`jacobian`, and for ``outputs`` or ``out`` that do not fit.

        Notes
        -----
        Two Gram matrices per layer: Σ_l N·M (n_l + S² n_{l+1}) multiply-adds with S² = O² for ``"full"``, O for
        ``"trace"``, ``"mean"`` and ``"diagonal"``, else 1; half of them without Z. At the last hidden layer S² = 1 for
        ``"trace"`` and ``"mean"``, too.

        Activations and deltas of all samples are held: (2 + S) Σ_l n_l numbers each, S = 1 for ``"sum"`` and an
        integer, else O. Where they do not fit into memory beside the result they are computed again for each pair of
        bands of samples, with the same bits.

        References
        ----------
        Jacot, Gabriel, Hongler (2018); Novak, Sohl-Dickstein, Schoenholz (2022).
        """
        return _ntk.ntk(self._state, X, Z, outputs=outputs, per_layer=per_layer, out=out, progress=progress)

    def jvp(self, X: ArrayLike, v: ArrayLike) -> Array:
        """Return J v, the derivative of the outputs along a direction of the parameters, without the Jacobian.

        ::

            (J v)_im = Σ_p ∂f_m(x_i)/∂θ_p v_p

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        v : (P,) or (K, P) array_like
            One direction or K of them, laid out as :attr:`parameters`.

        Returns
        -------
        (N, O) or (K, N, O) ndarray

        Raises
        ------
        ValueError, TypeError
            If an argument has another shape, holds NaN or an infinity, or is not made of real numbers.

        Notes
        -----
        (2 + 4 K) N P flops; the activations of a band of samples are held, and K tangents of them.
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
            One set of weights or K of them.

        Returns
        -------
        (P,) or (K, P) ndarray
            Laid out as :attr:`parameters`.

        Raises
        ------
        ValueError, TypeError
            As :meth:`jvp`.

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

    def operator(self, X: ArrayLike, outputs: Outputs = "full") -> Any:
        """Return the empirical NTK on X as a linear operator: Θ v without Θ.

        ::

            Θ v = J (Jᵀ v)

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        outputs : str or int
            As for :meth:`ntk`. ``"full"`` and ``"diagonal"``, whose outputs do not mix, act on N O numbers, of which
            sample i and output m have index ``i * O + m``; the others on N.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Symmetric. Its ``matmat`` takes vector products or, for many columns, blocks of rows of the kernel,
            whichever is cheaper.

        Raises
        ------
        ValueError, TypeError
            As :meth:`ntk`.

        Notes
        -----
        12 N P flops for each product (O times as many for ``"trace"``, ``"mean"`` and ``"diagonal"``), and no N²
        memory.

        References
        ----------
        Novak, Sohl-Dickstein, Schoenholz (2022).
        """
        return _vector_products.operator(self._state, X, outputs)

    def linearize(self) -> Callable[[ArrayLike, ArrayLike], Array]:
        """Return the network's linearization in its parameters, around its own θ_0.

        ::

            f_lin(x; θ) = f(x; θ_0) + J(x) (θ − θ_0)

        Returns
        -------
        callable
            ``(X, theta) -> (N, O) ndarray``, for inputs (N, n_0) and parameters (P,); or (K, P), and then (K, N, O).

        References
        ----------
        Lee, Xiao et al. (2019).

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> net = mlp(depth=1, width=8, outputs=2).init(3, rng=0)
        >>> bool(np.array_equal(net.linearize()(np.eye(3), net.parameters), net(np.eye(3))))
        True
        """
        return _vector_products.linearize(self._state)

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
        """Train what is trainable on the whole batch, by gradient descent or heavy ball.

        ::

            v ← momentum · v − learning_rate · ∂L/∂θ,    θ ← θ + v,    v_0 = 0

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs, N >= 1.
        y : (N, O) or (N,) array_like
            Targets; (N,) for one output. For the cross-entropy, (N,) integer labels or (N, O) probabilities.
        learning_rate : float
            Positive. The square loss converges below ``2 (1 + momentum) N O / λ_max(Θ)`` while Θ stays what it is: see
            :func:`ntkrs.predict.max_learning_rate`.
        steps : int
            How many steps to take.
        momentum : float
            In [0, 1).
        loss : str
            ``"mse"``: ``1/(2NO) Σ (f − y)²``; ``"softmax_cross_entropy"``: ``−1/N Σ y log softmax(f)``.
        record_every : int, optional
            Record after every so many steps, besides the first state and the last.
        alpha : float
            Scale of the model: α f is trained, on ``L/α²``, so that its speed in function space does not depend on α.
            Large α is lazy training, if the model starts at zero. It multiplies the rounding of f, ε: from 1e-6 to
            0.01/ε.
        centred : bool
            Train ``α (f − f_0)``, with f_0 the outputs of this very network: the model starts at exactly 0 and has the
            kernel of f. It predicts ``alpha * (trained(Z) - net(Z))``.
        record : iterable of str
            What to record besides the loss: ``"outputs"``, ``"kernel_drift"``.
        progress : callable or bool, optional
            As for :meth:`ntk`; counts steps.

        Returns
        -------
        Network
            The trained one. This one is unchanged.
        History
            A named tuple of arrays.

        Raises
        ------
        ValueError, TypeError
            If an argument is out of its domain, or training diverges: then with the step.
        MemoryError
            If activations, gradients and what is recorded do not fit, before any work.

        Notes
        -----
        6 N P flops a step. Activations and deltas of all layers are held for all samples. A record of the drift costs a
        kernel, N² O² numbers of which are held.

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
