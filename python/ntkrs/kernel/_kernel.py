"""The class of the kernels of infinitely wide networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from ntkrs._architecture import check_architecture
from ntkrs._checks import arrays, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._error_bound import ErrorBound
from ntkrs.kernel._gradient import gradients
from ntkrs.kernel._gram import core_kernel, gram
from ntkrs.kernel._operator import linear_operator, narrowed
from ntkrs.kernel._results import name_of, named, names_of, outs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse.linalg import LinearOperator

    from ntkrs._architecture import Architecture
    from ntkrs._core import InfiniteKernel
    from ntkrs._typing import Array, ArrayLike, Get, KernelName, Parameterization, Progress


@dataclass(frozen=True)
class Kernel:
    """The NNGP Σ and the NTK Θ of an infinitely wide network, as functions of inputs.

    ::

        Σ^1 = sigma_w² ⟨x,x'⟩/n_0 + sigma_b²          Θ^1 = own^1
        Σ^{l+1} = sigma_w² T(Σ^l) + sigma_b²          Θ^{l+1} = own^{l+1} + sigma_w² Ṫ(Σ^l) ⊙ Θ^l

    with ``T = E φ(u)φ(v)`` and ``Ṫ = E φ'(u)φ'(v)``. A layer's own part of Θ is Σ; with ``tau_b`` the σ_b² in it is
    τ_b², and it is 0 for a layer that is not trained. With several outputs the kernel of the whole network is this one
    times the identity of size O.

    Parameters
    ----------
    arch : Sequential
        The network; ``arch.kernel()`` makes its kernel.
    parameterization : "ntk" or "standard"
        In which parameters the tangent kernel is taken. "standard": weights V = σ_w/√n W and biases c = σ_b b, those
        of torch, Keras or scikit-learn, so that own = n T + 1, n being the width of the layer before: Θ then grows
        with the widths of the architecture. Σ is the same.

    Raises
    ------
    ValueError
        If an activation cannot be had at infinite width, or the parameterization is another one.

    References
    ----------
    Jacot, Gabriel, Hongler (2018); Lee, Bahri et al. (2018); Cho & Saul (2009); Williams (1997).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> kernel = mlp(depth=3, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
    >>> X = np.array([[3.0, 4.0], [3.0, 4.0]])
    >>> K = kernel(X, get=("nngp", "ntk"))
    >>> bool(np.all(K.ntk == K.ntk[0, 0]))  # equal rows: equal entries, to the last bit
    True
    """

    arch: Architecture
    parameterization: Parameterization = "ntk"
    _core: InfiniteKernel = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the architecture, and hand it to the core."""
        check_architecture(self.arch)
        if self.parameterization not in ("ntk", "standard"):
            raise ValueError(f"parameterization is {self.parameterization!r}, but must be 'ntk' or 'standard'")
        object.__setattr__(self, "_core", core_kernel(self.arch, self.parameterization, in_features=1))

    def _for(self, x: Array) -> InfiniteKernel:
        return self._core if self.parameterization == "ntk" else core_kernel(self.arch, "standard", x.shape[1])

    def __reduce__(self) -> tuple[type[Kernel], tuple[Architecture, str]]:
        return Kernel, (self.arch, self.parameterization)

    @overload
    def __call__(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: KernelName = "ntk",
        per_layer: bool = False,
        out: NDArray[Any] | None = None,
        progress: Progress = None,
    ) -> Array: ...

    @overload
    def __call__(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: tuple[KernelName, ...],
        per_layer: bool = False,
        out: Sequence[NDArray[Any]] | None = None,
        progress: Progress = None,
    ) -> Any: ...

    def __call__(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: Get = "ntk",
        per_layer: bool = False,
        out: NDArray[Any] | Sequence[NDArray[Any]] | None = None,
        progress: Progress = None,
    ) -> Any:
        """Return the kernel between the rows of X and those of Z, or of X.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs. float32 gives float32, all else float64.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        get : "ntk", "nngp", or a tuple of them
            A tuple is computed in one pass.
        per_layer : bool
            Return instead what each dense layer contributes to the NTK: ``Θ = Σ_l own^l Π_{m>l} sigma_w² Ṫ_m``.
        out : (N, M) ndarray, or a tuple of them, optional
            Where to write the result, of its shape and dtype, with any strides.
        progress : callable or bool, optional
            A callable is called as ``progress(done, total)`` about every 50 ms; what it raises ends the call. True
            shows a bar of tqdm, False none; by default a terminal sees one when the call takes longer than 2 s.

        Returns
        -------
        (N, M) ndarray, or a named tuple of them; (L, N, M) if ``per_layer``
            In the order of ``get``. Entry (i, j) depends on rows i and j alone, to the last bit.

        Raises
        ------
        ValueError
            If an input holds NaN or an infinity, is not two-dimensional, or X and Z differ in n_0.
        TypeError
            If an input is not made of real numbers.
        MemoryError
            If the result does not fit, before any work.

        Notes
        -----
        N·M·n_0 multiplications and N·M·L steps of the recursion; half of both without Z. No temporary array of
        the result's size.
        """
        names, last = names_of(get), len(self.arch.dense) - 1
        if numbers.boolean(per_layer, "per_layer"):
            if names != ("ntk",):
                raise ValueError(f"get is {get!r}, but per_layer=True is for 'ntk' alone: only Θ is a sum over layers")
            parts = [("part", layer) for layer in range(last + 1)]
            return gram(self._for, X, Z, outs_of(out, "ntk", 1), parts, progress, stacked=True)[0]
        wanted = [(name, last) for name in names]
        return named(get, gram(self._for, X, Z, outs_of(out, get, len(names)), wanted, progress))

    def depths(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: KernelName = "ntk",
        out: NDArray[Any] | None = None,
        progress: Progress = None,
    ) -> Array:
        """Return the kernels of the networks that end with each dense layer, in one pass.

        Parameters
        ----------
        X, Z, progress
            As :meth:`__call__`.
        get : "ntk" or "nngp"
            Which kernel.
        out : (L, N, M) ndarray, optional
            Where to write the result.

        Returns
        -------
        (L, N, M) ndarray
            Entry l is the kernel of ``Sequential(*arch.layers[: 2 * l + 1])``.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As :meth:`__call__`.
        """
        name = name_of(get, "depths")
        wanted = [(name, layer) for layer in range(len(self.arch.dense))]
        return gram(self._for, X, Z, [out], wanted, progress, stacked=True)[0]

    def diag(self, X: ArrayLike, get: KernelName = "ntk") -> Array:
        """Return the diagonal of ``kernel(X)``, the same bits, in O(N (n_0 + L)).

        A series adds some hundred numbers a row and layer.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs.
        get : "ntk" or "nngp"
            Which kernel.

        Returns
        -------
        (N,) ndarray

        Raises
        ------
        ValueError, TypeError
            As :meth:`__call__`.
        """
        wanted = (name_of(get, "diag"), len(self.arch.dense) - 1)
        x = arrays.batch(X, "X")
        return narrowed(self._for(x).diag(x, wanted), x.dtype)

    def gradient(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: Get = "ntk",
        weights: ArrayLike | None = None,
        progress: Progress = None,
    ) -> Any:
        """Return the derivatives of the kernel with respect to ``sigma_w`` and ``sigma_b`` of every dense layer.

        ``∂K_ij/∂σ_w^l`` and ``∂K_ij/∂σ_b^l`` or, with weights A, their sums ``Σ_ij A_ij ∂K_ij/∂σ^l``.

        Parameters
        ----------
        X, Z, progress
            As :meth:`__call__`.
        get : "ntk", "nngp", or a tuple of them
            Which kernel; a tuple costs little more than one.
        weights : (N, M) array_like, optional
            A. What a function of K has for a gradient in K gives that in the scales, without the (L, N, M) arrays.

        Returns
        -------
        KernelGradient, or a named tuple of them in the order of ``get``
            ``.sigma_w`` and ``.sigma_b``, (L, N, M) each, of the inputs' dtype; (L,) each, float64, with weights.
            Entry (l, i, j) depends on rows i and j alone, and sums not on the number of threads, to the last bit.

        Raises
        ------
        ValueError
            If ``weights`` is not (N, M) and finite; else as :meth:`__call__`.
        TypeError, MemoryError
            As :meth:`__call__`.

        Notes
        -----
        Reverse mode along each pair, O(N·M·(n_0 + L)): the time of three to six kernels. The learning scale τ_w
        changes with σ_w, and τ_b with σ_b unless ``tau_b`` is given. docs/gradients.md has the conventions at
        ``sigma_b=0`` and at jumps, the accuracy, and the weights that give the gradient of a marginal likelihood.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X = mlp(depth=2, width=1, outputs=1, sigma_w=1.5).kernel(), np.eye(3)
        >>> by_layer = kernel.gradient(X, get="nngp").sigma_w
        >>> np.allclose(1.5 * by_layer, 2 * kernel(X, get="nngp"), rtol=1e-14)  # Σ is homogeneous of degree 2 in each
        True
        """
        names = names_of(get)
        tied = [layer.learning_follows(self.parameterization) for layer in self.arch.dense]
        return named(get, gradients(self._for, arrays.pair(X, Z), names, tied, weights, progress))

    def error_bound(self, X: ArrayLike, Z: ArrayLike | None = None) -> ErrorBound:
        """Return bounds on the errors of the kernel's entries that come from truncated series.

        ``|K̂_ij - K_ij| <= bound · √(K_ii K_jj)``, besides round-off, for all pairs of rows of X and Z. Activations
        with a closed form make none; those by a series leave out terms, and each layer passes errors on.

        Parameters
        ----------
        X, Z
            As :meth:`__call__`.

        Returns
        -------
        ErrorBound
            ``.nngp`` and ``.ntk``, relative to the scale of the entry.

        Raises
        ------
        ValueError, TypeError
            As :meth:`__call__`.

        Notes
        -----
        O(N n_0), and the series: what each misses of E φ² and E φ'², which are known without it. The bound is that of
        the worst row, for all pairs.

        References
        ----------
        Mehler's formula and Parseval's.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> mlp(3, 1, 1, "relu").kernel().error_bound(np.eye(2))
        ErrorBound(nngp=0.0, ntk=0.0)
        >>> mlp(3, 1, 1, "tanh").kernel().error_bound(np.eye(2)).ntk < 1e-10
        True
        """
        x, z = arrays.pair(X, Z)
        return ErrorBound(*self._for(x).error_bound((x, z)))

    def scalar(self, rho: ArrayLike, *, get: KernelName = "ntk", q: float = 1.0) -> NDArray[np.float64]:
        """Return the kernel as a function of the cosine of two inputs on the sphere ``|x|² = q n_0``.

        Parameters
        ----------
        rho : array_like, any shape
            Correlations ``⟨x,x'⟩/(q n_0)``, in [−1, 1].
        get : "ntk" or "nngp"
            Which kernel.
        q : float
            The mean square of an input, ``|x|²/n_0``.

        Returns
        -------
        ndarray of rho's shape, float64

        Raises
        ------
        ValueError
            If a correlation is not in [−1, 1], q is negative, or the parameterization is "standard", whose kernel
            depends on n_0 too.

        Examples
        --------
        >>> from ntkrs import mlp
        >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
        >>> kernel.scalar([1.0, 0.0, -1.0], get="nngp").round(4).tolist()  # (sin θ + (π − θ) cos θ)/π · 2
        [2.0, 0.6366, 0.0]
        """
        if self.parameterization != "ntk":
            raise ValueError("a kernel in standard parameters is no function of rho alone: call it on inputs")
        values = arrays.finite_float64(rho, "rho")
        wanted = (name_of(get, "scalar"), len(self.arch.dense) - 1)
        return self._core.scalar(values.ravel(), numbers.real(q, "q"), wanted).reshape(values.shape)

    def operator(
        self, X: ArrayLike, Z: ArrayLike | None = None, get: KernelName = "ntk", progress: Progress = None
    ) -> LinearOperator:
        """Return ``K(X, Z)`` as a linear operator: products with it, and never the (N, M) array.

        Parameters
        ----------
        X : (N, n_0) array_like
            Inputs, copied.
        Z : (M, n_0) array_like, optional
            Other inputs; by default X, at half the cost.
        get : "ntk" or "nngp"
            Which kernel.
        progress
            As :meth:`__call__`, for each product.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator of shape (N, M)
            Of the dtype of the inputs; products are summed in float64. The same bits for any number of threads.

        Raises
        ------
        ValueError, TypeError
            As :meth:`__call__`; a product raises ValueError if its result is not finite.

        Notes
        -----
        A product ``K @ V`` with V (M, r) computes the tiles once for all r vectors (half of them without Z), and takes
        2·N·M·r flops more. It holds 16 times the memory of the result.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X = mlp(depth=2, width=1, outputs=1).kernel(), np.eye(5)
        >>> V = np.arange(10.0).reshape(5, 2)
        >>> np.allclose(kernel.operator(X) @ V, kernel(X) @ V, rtol=1e-14)
        True
        """
        wanted = (name_of(get, "operator"), len(self.arch.dense) - 1)
        x, z = arrays.pair(X, Z)
        return linear_operator(self._for(x), x.copy(), None if z is None else z.copy(), wanted, reporter(progress))
