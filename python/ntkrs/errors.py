"""Warnings and errors that can be filtered and caught by name.

Each class derives from the built-in class (or NumPy's) for its kind, so ``except ValueError`` catches these errors too.
Errors without a class here are built-in ones, because their class already says what is wrong: ``ValueError``
and ``TypeError`` for arguments, ``MemoryError`` for arrays that do not fit, ``ImportError`` for a missing package.

All names are also names of :mod:`ntkrs`.

Examples
--------
Make every loss of accuracy an error, and let large graphs pass:

>>> import warnings, ntkrs
>>> with warnings.catch_warnings():
...     warnings.simplefilter("error", ntkrs.TruncationWarning)
...     warnings.simplefilter("error", ntkrs.ConvergenceWarning)
...     warnings.simplefilter("ignore", ntkrs.PerformanceWarning)
"""

import numpy as np

__all__ = [
    "ChannelOrderWarning",
    "ConvergenceError",
    "ConvergenceWarning",
    "DamagedFileError",
    "DivergenceError",
    "IndefiniteKernelError",
    "NoEffectWarning",
    "PerformanceWarning",
    "SingularKernelError",
    "StalledTrainingWarning",
    "TruncationWarning",
    "UnknownScalesError",
]


class TruncationWarning(RuntimeWarning):
    """A series is too short for these inputs: entries may be off by more than 1e-10 of √(K_ii K_jj).

    Kernels at infinite width and ``activation.dual`` warn of it. The message gives the error bound, as
    :meth:`ntkrs.Kernel.error_bound` does.

    Examples
    --------
    >>> import numpy as np, warnings, ntkrs
    >>> step = ntkrs.Activation(lambda x: np.maximum(x - 2, 0), lambda x: 1.0 * (x > 2))  # with a kink away from 0
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", ntkrs.TruncationWarning)
    ...     K = ntkrs.mlp(1, 1, 1, step).kernel()([[1.0]])
    >>> caught[0].category.__name__
    'TruncationWarning'
    """


class ConvergenceWarning(RuntimeWarning):
    """A result has not reached its tolerance. The message gives the error estimate, and the argument to increase.

    :func:`ntkrs.solve` and ``method="krylov"`` warn of it after ``max_iterations``, and
    :func:`ntkrs.predict.gradient_descent` where momentum adds up rounding errors.

    Examples
    --------
    >>> import numpy as np, warnings, ntkrs
    >>> K, y = np.diag([1.0, 2.0, 3.0]), np.ones(3)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", ntkrs.ConvergenceWarning)
    ...     found = ntkrs.solve(K, y, method="pcg", rank=1, max_iterations=1)
    >>> found.converged, caught[0].category.__name__
    (False, 'ConvergenceWarning')
    """


class StalledTrainingWarning(RuntimeWarning):
    """The gradient is exactly 0 at a loss that is not: :meth:`ntkrs.Network.train` has come to a stop.

    Most often the learning rate was so large that no unit is active any more. The message names the step.

    Examples
    --------
    >>> import numpy as np, warnings, ntkrs
    >>> net = ntkrs.mlp(depth=1, width=4, outputs=1).init(in_features=2)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", ntkrs.StalledTrainingWarning)
    ...     trained, history = net.train(np.zeros((1, 2)), [1.0], learning_rate=0.1, steps=3)  # f(0) = 0 for all θ
    >>> caught[0].category.__name__
    'StalledTrainingWarning'
    """


class ChannelOrderWarning(RuntimeWarning):
    """Images (N, H, W, C) have the shape of images (N, C, H, W), whose channels are not the last axis.

    Examples
    --------
    >>> import numpy as np, warnings
    >>> import ntkrs
    >>> arch = ntkrs.Sequential(ntkrs.Conv(1, (3, 3)), ntkrs.Relu(), ntkrs.GlobalAvgPool(), ntkrs.Dense(1))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", ntkrs.ChannelOrderWarning)
    ...     K = arch.kernel()(np.ones((1, 3, 8, 8)))
    >>> caught[0].category.__name__
    'ChannelOrderWarning'
    """


class PerformanceWarning(RuntimeWarning):
    """The result is right, but slow: a graph has too many tasks, or the package was built without optimization.

    Examples
    --------
    >>> import warnings, ntkrs
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ntkrs.PerformanceWarning)
    """


class NoEffectWarning(UserWarning):
    """A call of another library that does nothing here, such as ``batch`` of :mod:`ntkrs.compat.neural_tangents`.

    Examples
    --------
    >>> import warnings, ntkrs
    >>> from ntkrs.compat.neural_tangents import batch
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", ntkrs.NoEffectWarning)
    ...     kernel_fn = batch(print, batch_size=10)
    """


class DivergenceError(ValueError):
    """Training diverges with this learning rate. The message names the step, or the largest rate that is stable.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> K, y = np.eye(2), np.ones(2)
    >>> try:
    ...     ntkrs.predict.gradient_descent_mse(K, y, learning_rate=100.0, optimizer="gd")(t=5)
    ... except ntkrs.DivergenceError:
    ...     rate = ntkrs.predict.max_learning_rate(K, y_train_size=y.size)
    >>> rate
    4.0
    """


class ConvergenceError(ValueError, RuntimeError):
    """No result: a solver of an ODE or an iteration has used up its evaluations, or cannot take another step.

    Where there is a result, but a less accurate one, :class:`ConvergenceWarning` says so instead.

    Examples
    --------
    >>> import ntkrs
    >>> issubclass(ntkrs.ConvergenceError, ValueError)
    True
    """


class SingularKernelError(np.linalg.LinAlgError):
    """K + rI is singular, or singular within round-off. Pass a larger ridge or noise.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> try:
    ...     ntkrs.solve(np.ones((2, 2)), np.array([1.0, 2.0]))
    ... except ntkrs.SingularKernelError:
    ...     alpha = ntkrs.solve(np.ones((2, 2)), np.array([1.0, 2.0]), diag_reg=1e-3).alpha
    >>> alpha.shape
    (2,)
    """


class IndefiniteKernelError(np.linalg.LinAlgError):
    """A matrix has an eigenvalue that is negative beyond round-off, so it is not a kernel, or has lost digits.

    Predictive variances that are negative beyond round-off are the same error: the kernels do not belong together.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> try:
    ...     ntkrs.diagnostics.spectrum(-np.eye(2))
    ... except ntkrs.IndefiniteKernelError as error:
    ...     print(str(error)[:22])
    k has eigenvalue -1, n
    """


class UnknownScalesError(ValueError):
    """A layer of a converted model has unknown scales, which kernels at infinite width and ``init`` need.

    The message says which scales other libraries start from. ``scales=`` of the functions of :mod:`ntkrs.convert` fills
    them in.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> net = ntkrs.convert.from_keras([np.zeros((2, 1)), np.zeros(1)], "relu")
    >>> try:
    ...     net.arch.kernel()
    ... except ntkrs.UnknownScalesError:
    ...     net = ntkrs.convert.from_keras([np.zeros((2, 1)), np.zeros(1)], "relu", scales="keras")
    >>> net.arch.kernel()([[3.0, 4.0]]).shape
    (1, 1)
    """


class DamagedFileError(OSError, ValueError):
    """A file is truncated, or does not hold what was written. The message names it, and what to do.

    Files of kernel matrices, of networks, and checkpoints of :func:`ntkrs.solve` are checked as they are read.

    Examples
    --------
    >>> import ntkrs
    >>> issubclass(ntkrs.DamagedFileError, OSError) and issubclass(ntkrs.DamagedFileError, ValueError)
    True
    """
