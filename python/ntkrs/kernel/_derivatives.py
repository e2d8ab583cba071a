"""The methods of kernels that return derivatives: with respect to the scales of the layers, and to the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrs.kernel._gradient import gradients
from ntkrs.kernel._input_gradient import input_gradients
from ntkrs.kernel._inputs import KernelInputs
from ntkrs.kernel._results import named, names_of

if TYPE_CHECKING:
    from ntkrs._typing import ArrayLike, Get, Progress


class KernelDerivatives(KernelInputs):
    """The part of :class:`~ntkrs.kernel.Kernel` that differentiates."""

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

        ``∂K_ij/∂σ_w^l`` and ``∂K_ij/∂σ_b^l``; or, with weights A, their sums ``Σ_ij A_ij ∂K_ij/∂σ^l``.

        Parameters
        ----------
        X, Z, get, progress
            As for :meth:`__call__`. A tuple in ``get`` costs little more than one kernel.
        weights : (N, M) array_like, optional
            A. Pass ∂f/∂K to get the gradient of f(K) in the scales without forming the (L, N, M) arrays.

        Returns
        -------
        KernelGradient, or a named tuple of them in the order of ``get``
            ``.sigma_w`` and ``.sigma_b``: (L, N, M) each, in the dtype of the inputs; with weights (L,) each, in
            float64. Entry (l, i, j) depends on rows i and j alone, to the last bit. Sums do not depend on the number
            of threads.

        Raises
        ------
        ValueError
            If ``weights`` is not a finite (N, M) array, or the network has a Conv.

        Notes
        -----
        Reverse mode along each pair: O(N·M·(n_0 + L)) time, that of three to six kernels. τ_w changes with σ_w, and
        τ_b with σ_b unless ``tau_b`` is given. docs/gradients.md has the conventions at ``sigma_b=0`` and at jumps,
        the accuracy, and the weights for the gradient of a marginal likelihood.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X = mlp(depth=2, width=1, outputs=1, sigma_w=1.5).kernel(), np.eye(3)
        >>> by_layer = kernel.gradient(X, get="nngp").sigma_w
        >>> np.allclose(1.5 * by_layer, 2 * kernel(X, get="nngp"), rtol=1e-14)  # Σ is homogeneous of degree 2 in each
        True
        """
        names, core = names_of(get), self._for_rows("gradient")
        tied = [layer.tied_scales(self.parameterization) for layer in self.arch.dense]
        return named(get, gradients(core, self._pair(X, Z), names, tied, weights, progress))

    def input_gradient(
        self,
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        get: Get = "ntk",
        weights: ArrayLike,
        progress: Progress = None,
    ) -> Any:
        """Return weighted sums of the derivatives of the kernel with respect to its first input.

        ``G_i = Σ_j W_ij ∂₁K(x_i, z_j)``. The second input counts as constant, if it is x_i itself too.

        Parameters
        ----------
        X, Z, get, progress
            As for :meth:`__call__`. A tuple in ``get`` costs little more than one kernel.
        weights : (N, M), (M,) or (M, O) array_like
            W: one for each pair; or α, the same for all rows, and G is the gradient of ``f(x) = Σ_j K(x, z_j) α_j`` at
            each row of X. A square (N, N) array is one for each pair.

        Returns
        -------
        (N, n_0) ndarray, or a named tuple of them in the order of ``get``; (N, n_0, O) for weights (M, O)
            In the dtype of the inputs; sums are taken in float64. Row i depends on row i of X, row i of the weights of
            pairs, and all of Z, to the last bit.

        Raises
        ------
        ValueError
            If ``weights`` is not finite or has another shape, a sum is not finite, or the network has a Conv.
        MemoryError
            If the result does not fit in memory. Nothing is computed then.

        Notes
        -----
        If an activation has a kink, Θ has a cusp where x_i and z_j are equal or opposite, and without biases parallel
        too. The cusp counts as 0: the derivative is the mean of those from both sides. So ``∂K(x, x)/∂x``, of both
        inputs, is twice ``∂₁K(x, x)``. Likewise at ``x_i = 0``, where kernels without biases may have a cusp of their
        own, each pair has the derivative of its limit for small x_i orthogonal to z_j.

        :meth:`gradient` is the derivative with respect to the scales. Forward mode along each pair: the time of two to
        four kernels, with a product of N·M·n_0·O multiplications. Neither an (N, M, n_0) array is formed, nor an (N, M)
        one; the temporary arrays are float64, of the sizes of the result and of Z. docs/gradients.md has the accuracy.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X = mlp(depth=2, width=1, outputs=1, activation="relu").kernel(), np.eye(3)
        >>> G = kernel.input_gradient(X, weights=np.eye(3))  # ∂₁K(x_i, x_i)
        >>> np.allclose((X * G).sum(axis=1), kernel.diag(X), rtol=1e-14)  # without biases K(c x, z) = c K(x, z)
        True
        """
        names, core = names_of(get), self._for_rows("input_gradient")
        return named(get, input_gradients(core, self._pair(X, Z), names, weights, progress))
