"""The class of kernels of infinitely wide networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack, overload

from ntkrs._architecture import check_architecture
from ntkrs._checks import arrays, numbers
from ntkrs._checks.advice import absent, options_by_name
from ntkrs._runtime import display
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._derivatives import KernelDerivatives
from ntkrs.kernel._error_bound import ErrorBound
from ntkrs.kernel._gram import Core, array_of, core_kernel, gram, narrowed
from ntkrs.kernel._results import name_of, named, names_of, outs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, Get, KernelName, Parameterization, Progress
    from ntkrs.kernel._gram import Side
    from ntkrs.kernel._inputs import KernelInput as ArrayLike
    from ntkrs.kernel._operator import KernelOperator
    from ntkrs.kernel._results import Both, NngpNtk, NtkNngp, Rest, Turned


@dataclass(frozen=True)
class Kernel(KernelDerivatives):
    """The NNGP Σ and the NTK Θ of an infinitely wide network, as functions of two inputs.

    ::

        Σ^1 = sigma_w² ⟨x,x'⟩/n_0 + sigma_b²          Θ^1 = own^1
        Σ^{l+1} = sigma_w² T(Σ^l) + sigma_b²          Θ^{l+1} = own^{l+1} + sigma_w² Ṫ(Σ^l) ⊙ Θ^l

    with ``T = E φ(u)φ(v)`` and ``Ṫ = E φ'(u)φ'(v)`` for Gaussian (u, v) with covariance Σ^l. The term own^l comes from
    the parameters of layer l itself. It equals Σ^l, with tau_b² in place of sigma_b² if the layer has ``tau_b``; it is
    0 if the layer is not trainable. The kernel of O outputs is this one times the identity of size O.

    A network that starts with :class:`~ntkrs.layers.Conv` takes images (N, H, W, C), channels last, of any size that
    its windows fit into. There Σ and Θ of the first layers are between pixels of two images, and a convolution takes
    the mean over all taps of its window: docs/convolution.md has the equations.

    Parameters
    ----------
    arch : Sequential
        The architecture. ``arch.kernel()`` is the usual way to make its kernel.
    parameterization : "ntk" or "standard"
        The parameters that are trained. With "ntk" they are W and b, as in :class:`~ntkrs.layers.Dense`. With
        "standard" they are V = σ_w/√n W and c = σ_b b, as in torch, Keras and scikit-learn. There own = n T + 1, where
        n is the width of the previous layer (0 instead of 1 without biases), so Θ grows with the widths of the
        architecture. Σ is the same for both.

    Raises
    ------
    ValueError
        If the scales of a layer are unknown (``sigma_w=None``, from :mod:`ntkrs.convert`), an activation has no
        infinite-width kernel, ``parameterization`` is neither "ntk" nor "standard", or it is "standard" and a layer has
        a ``tau_b`` other than 1.

    Notes
    -----
    All methods check inputs X and Z as :meth:`__call__` does, and raise the same errors.

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
    _cores: dict[tuple[int, ...] | None, Core] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the arguments, and build the core's kernel."""
        check_architecture(self.arch)
        if self.parameterization not in ("ntk", "standard"):
            raise ValueError(f"parameterization is {self.parameterization!r}, but must be 'ntk' or 'standard'")
        object.__setattr__(self, "_cores", {None: core_kernel(self.arch, self.parameterization)})

    def _gram(self, inputs: tuple[Side, Side | None], *options: Any, stacked: bool = False) -> list[Array]:
        """Return kernels of the inputs, with the ``options`` of :func:`~ntkrs.kernel._gram.gram`."""
        return gram(self._for(inputs[0]), inputs, *options, stacked=stacked)

    def _repr_html_(self) -> str:
        """Return a table of the layers, which notebooks show."""
        return display.layers(f'Kernel of infinite width, parameterization "{self.parameterization}"', self.arch)

    def __reduce__(self) -> tuple[type[Kernel], tuple[Architecture, str]]:
        """Pickle the arguments alone: the core's kernel is built again from them."""
        return Kernel, (self.arch, self.parameterization)

    def __dask_tokenize__(self) -> Any:
        """Return a token for Dask that equal kernels share. The core's kernel has none."""
        from dask.base import normalize_token

        return normalize_token((type(self), self.arch, self.parameterization))

    @overload
    def __call__(
        self, X: ArrayLike, Z: ArrayLike | None = None, *, get: KernelName = "ntk", **rest: Unpack[Rest]
    ) -> Array: ...

    @overload
    def __call__(self, X: ArrayLike, Z: ArrayLike | None = None, *, get: Both, **rest: Unpack[Rest]) -> NngpNtk: ...

    @overload
    def __call__(self, X: ArrayLike, Z: ArrayLike | None = None, *, get: Turned, **rest: Unpack[Rest]) -> NtkNngp: ...

    @overload
    def __call__(
        self, X: ArrayLike, Z: ArrayLike | None = None, *, get: tuple[KernelName, ...], **rest: Unpack[Rest]
    ) -> Any: ...

    @absent(parameterization="It is chosen with the kernel: arch.kernel('standard').")
    @options_by_name
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
        """Return the kernel between all rows of X and all rows of Z.

        Parameters
        ----------
        X : (N, n_0) array_like, or (N, H, W, C) for a network with Conv
            Inputs. float32 inputs give float32 results; everything else is computed in float64. X and Z may be what
            :meth:`prepare` returns.
        Z : (M, n_0) or (M, H, W, C) array_like, optional
            Other inputs; by default X, at half the cost.
        get : "ntk", "nngp", or a tuple of them
            The kernel. A tuple is computed in one pass.
        per_layer : bool
            If True, return the terms of ``Θ = Σ_l own^l Π_{m>l} sigma_w² Ṫ_m`` instead, one for each dense layer.
        out : (N, M) ndarray, or a tuple of them, optional
            Array to write the result to, of its shape and dtype and with any strides.
        progress : callable or bool, optional
            A callable is called as ``progress(done, total)`` about every 50 ms; an exception that it raises ends the
            call. While done is 0, X and Z are still being read, and must not be changed. True shows a tqdm bar, False
            does not. By default a terminal or notebook shows one if the call takes over 2 s.

        Returns
        -------
        (N, M) ndarray, or a named tuple of them in the order of ``get``; (L, N, M) if ``per_layer``
            Entry (i, j) depends on rows i and j alone, to the last bit.

        Raises
        ------
        ValueError
            If X or Z is not two-dimensional (four-dimensional for images), holds NaN or an infinity, or they differ in
            n_0; if a window does not fit into an image; or if ``per_layer`` and the network has a Conv.
        TypeError
            If X or Z does not hold real numbers.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        N·M·n_0 multiplications and N·M·L steps of the recursion, half of both without Z. No temporary array is as
        large as the result. With convolutions a step is one for each pair of pixels that the head reads: H·W for
        Flatten, and (H·W)² for GlobalAvgPool.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X = mlp(depth=2, width=1, outputs=1).kernel(), np.eye(3)
        >>> np.allclose(kernel(X, per_layer=True).sum(axis=0), kernel(X))
        True
        """
        if not self.takes_images:
            arrays.no_pair_of_rows(X, Z)
        names, last = names_of(get), len(self.arch.dense) - 1
        if numbers.boolean(per_layer, "per_layer"):
            if names != ("ntk",):
                raise ValueError(f"get is {get!r}, but per_layer=True is for 'ntk' alone: only Θ is a sum over layers")
            parts = [("part", layer) for layer in range(last + 1)]
            self._check_rows("per_layer=True")
            return self._gram(self._pair(X, Z), outs_of(out, "ntk", 1), parts, progress, stacked=True)[0]
        wanted = [(name, last) for name in names]
        return named(get, self._gram(self._pair(X, Z), outs_of(out, get, len(names)), wanted, progress))

    def depths(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: KernelName = "ntk",
        out: NDArray[Any] | None = None,
        progress: Progress = None,
    ) -> Array:
        """Return the kernels of all networks that end at a dense layer of this one, in one pass.

        Parameters
        ----------
        X, Z, get, progress
            As for :meth:`__call__`, but ``get`` is a single name.
        out : (L, N, M) ndarray, optional
            Array to write the result to.

        Returns
        -------
        (L, N, M) ndarray
            Entry l is the kernel of ``Sequential(*arch.layers[: 2 * l + 1])``, to the last bit.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> K = mlp(depth=2, width=1, outputs=1).kernel().depths(np.eye(3))
        >>> np.array_equal(K[1], mlp(depth=1, width=1, outputs=1).kernel()(np.eye(3)))
        True
        """
        self._check_rows("depths")
        name = name_of(get, "depths")
        wanted = [(name, layer) for layer in range(len(self.arch.dense))]
        return self._gram(self._pair(X, Z), [out], wanted, progress, stacked=True)[0]

    def diag(self, X: ArrayLike, get: KernelName = "ntk") -> Array:
        """Return the diagonal of ``kernel(X)``, to the last bit, in O(N (n_0 + L)) time.

        Series activations need a few hundred numbers more per row and layer.

        Parameters
        ----------
        X, get
            As for :meth:`__call__`, but ``get`` is a single name.

        Returns
        -------
        (N,) ndarray
        """
        wanted = (name_of(get, "diag"), len(self.arch.dense) - 1)
        x, _ = self._pair(X, None)
        return narrowed(self._for(x).diag(x, wanted), array_of(x).dtype)

    def error_bound(self, X: ArrayLike, Z: ArrayLike | None = None) -> ErrorBound:
        """Return bounds on the errors of the kernel that come from truncated series.

        ``|K̂_ij - K_ij| <= bound · √(K_ii K_jj)``, apart from round-off, for all pairs of rows of X and Z. Activations
        with a closed form make no such error. A series leaves out terms, and later layers pass the error on.

        Parameters
        ----------
        X, Z
            As for :meth:`__call__`.

        Returns
        -------
        ErrorBound
            ``.nngp`` and ``.ntk``, those of the worst row.

        Notes
        -----
        O(N n_0) time, besides the series of each row and layer. The error of a series is the part that it misses of
        E φ² and E φ'², which are known without it.

        References
        ----------
        Mehler's formula and Parseval's.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> mlp(depth=3, width=1, outputs=1, activation="tanh").kernel().error_bound(np.eye(2)).ntk < 1e-10
        True
        """
        x, z = self._pair(X, Z)
        return ErrorBound(*self._for(x).error_bound((x, z)))

    def scalar(self, rho: ArrayLike, *, get: KernelName = "ntk", q: float = 1.0) -> NDArray[np.float64]:
        """Return the kernel as a function of the cosine between two inputs on the sphere ``|x|² = q n_0``.

        Parameters
        ----------
        rho : array_like of any shape
            Cosines ``⟨x,x'⟩/(q n_0)``, in [−1, 1].
        get : "ntk" or "nngp"
            The kernel.
        q : float
            The mean square of an input, ``|x|²/n_0``.

        Returns
        -------
        float64 ndarray of the shape of ``rho``

        Raises
        ------
        ValueError
            If a cosine is not in [−1, 1], q is negative, the network has a Conv, or ``parameterization`` is "standard",
            where the kernel also depends on n_0.

        Examples
        --------
        >>> from ntkrs import mlp
        >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
        >>> kernel.scalar([1.0, 0.0, -1.0], get="nngp").round(4).tolist()  # 2/π · (sin θ + (π − θ) cos θ)
        [2.0, 0.6366, 0.0]
        """
        core = self._for_rows("scalar")
        if self.parameterization != "ntk":
            raise ValueError("a kernel in standard parameters is not a function of rho alone: call it on inputs")
        values = arrays.finite_float64(rho, "rho")
        wanted = (name_of(get, "scalar"), len(self.arch.dense) - 1)
        return core(values).scalar(values.ravel(), numbers.real(q, "q"), wanted).reshape(values.shape)

    def operator(
        self, X: ArrayLike, Z: ArrayLike | None = None, get: KernelName = "ntk", progress: Progress = None
    ) -> KernelOperator:
        """Return ``K(X, Z)`` as a linear operator: products with the kernel, without the (N, M) array.

        Parameters
        ----------
        X, Z, get, progress
            As for :meth:`__call__`, but ``get`` is a single name. X and Z are copied: later changes have no effect.
            ``progress`` reports on each product.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator of shape (N, M)
            It has the dtype of the inputs; sums are taken in float64. Products do not depend on the number of threads.
            ``.columns(indices)`` returns columns (N, m), and ``.diagonal()`` the diagonal (N,) if Z is None, to the
            last bit those of ``kernel(X, Z)``.

        Raises
        ------
        ValueError
            By a product, if its result is not finite.

        Notes
        -----
        Every product ``K @ V`` with V (M, r) computes the kernel again (half of it without Z), tile by tile, and
        multiplies each tile by all r vectors: 2·N·M·r flops more. It needs 16 times the memory of its result. The first
        one prepares X and Z as :meth:`prepare` does, and the operator keeps that for those after it.

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
        core, inputs = self._kept_pair(X, Z)
        from ntkrs.kernel._operator import KernelOperator  # SciPy is slow to import

        return KernelOperator(core, inputs, wanted, reporter(progress))
