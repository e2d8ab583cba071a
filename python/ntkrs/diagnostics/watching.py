"""The kernel of a network while it is trained, in any training loop."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs import convert
from ntkrs._checks import arrays, numbers
from ntkrs._checks.advice import shown
from ntkrs.diagnostics.alignment import kernel_target_alignment
from ntkrs.diagnostics.spectra import spectrum
from ntkrs.empirical import empirical_ntk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


class Sight(NamedTuple):
    """The kernel at one step of training, in numbers.

    Attributes
    ----------
    step : int
        The step.
    eigenvalues : (N,) ndarray
        The eigenvalues in descending order.
    effective_rank : float
        ``exp(−Σ p log p)`` with ``p = λ/Σλ``.
    drift : float
        ``‖K_t − K_0‖_F/‖K_0‖_F``, where K_0 is the first kernel that was recorded.
    alignment : float or None
        As :func:`kernel_target_alignment`; None without targets.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> watch = ntkrs.diagnostics.watch(np.eye(2), y=[1.0, -1.0])
    >>> watch(0, ntkrs.mlp(depth=0, width=1, outputs=1).init(in_features=2, rng=0))  # a linear model: K is XXᵀ/2
    >>> sight = watch.sights[0]
    >>> round(sight.effective_rank, 12), round(sight.alignment, 12)
    (2.0, 0.707106781187)
    """

    step: int
    eigenvalues: NDArray[np.float64]
    effective_rank: float
    drift: float
    alignment: float | None


class Watch:
    """The result of :func:`watch`: call it in a training loop, and read its table at the end.

    Attributes
    ----------
    sights : list of Sight
        ``step``, ``eigenvalues``, ``effective_rank``, ``drift`` and ``alignment`` of each recorded step.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> watch = ntkrs.diagnostics.watch(np.eye(3), every=10)
    >>> net = ntkrs.mlp(depth=1, width=8, outputs=1).init(in_features=3, rng=0)
    >>> watch(0, net)
    >>> [sight.drift for sight in watch.sights]
    [0.0]
    """

    def __init__(self, kernel: Callable[[Any], Array], labels: Any, every: int) -> None:
        self._kernel, self._labels, self._every = kernel, labels, every
        self._first: NDArray[np.float64] | None = None
        self.sights: list[Sight] = []

    def __call__(self, step: int, model: Any) -> None:
        """Record the kernel of a model, if ``step`` is a multiple of ``every`` or the first one.

        Raises
        ------
        TypeError, ValueError
            If ``step`` is not an integer above the last one, or the model has no kernel. A kernel that is all 0 at the
            first step has no drift.
        """
        at = numbers.integer(step, "step")
        if self.sights and at <= self.sights[-1].step:
            raise ValueError(f"step is {at}, but step {self.sights[-1].step} is recorded already: steps must grow")
        if self.sights and at % self._every:
            return
        found = self._kernel(model).astype(np.float64)
        first = found if self._first is None else self._first
        length = np.linalg.norm(first)
        if length == 0:
            raise ValueError(f"the kernel at step {at} is all 0, so it has no drift. Is anything trained?")
        values = spectrum(found)
        alignment = None if self._labels is None else kernel_target_alignment(found, self._labels)
        drift = float(np.linalg.norm(found - first) / length)
        self._first = first
        self.sights.append(Sight(at, values.eigenvalues, values.effective_rank_entropy, drift, alignment))

    def __str__(self) -> str:
        """Return a table with one line for each recorded step."""
        lines = ["    step   largest λ    trace   effective rank    drift   alignment"]
        for sight in self.sights:
            alignment = "-" if sight.alignment is None else f"{sight.alignment:.4f}"
            eigenvalues = f"{sight.eigenvalues[0]:11.4g} {sight.eigenvalues.sum():8.4g}"
            lines.append(
                f"{sight.step:8d} {eigenvalues} {sight.effective_rank:16.2f} {sight.drift:8.4f} {alignment:>11}"
            )
        return "\n".join(lines)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with one row for each recorded step, without the eigenvalues but the largest.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        rows = [
            (s.step, s.eigenvalues[0], s.eigenvalues.sum(), s.effective_rank, s.drift, s.alignment) for s in self.sights
        ]
        columns = ["step", "largest_eigenvalue", "trace", "effective_rank", "drift", "alignment"]
        return pandas.DataFrame(rows, columns=columns).set_index("step")

    def plot(self, ax: Any = None) -> Any:
        """Draw the drift, the relative effective rank and the alignment against the steps.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; by default those of a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            If no step is recorded.
        ImportError
            If matplotlib is missing; the message says how to install it.
        """
        from ntkrs import plot

        if not self.sights:
            raise ValueError("no step is recorded yet. Call watch(step, model) first.")
        return plot.styled(_draw)(self.sights, ax)


def watch(
    X_probe: ArrayLike, every: int = 50, *, y: ArrayLike | None = None, activation: Any = None, outputs: Any = "full"
) -> Watch:
    """Return a watch over the kernel of a network in training, which is called in the training loop.

    Parameters
    ----------
    X_probe : (N, ...) array_like or tensor
        The samples whose kernel is watched: some dozens.
    every : int
        Steps that are multiples of this number are recorded, and the first one.
    y : (N,) or (N, O) array_like, optional
        Targets, for the alignment.
    activation : str or Elementwise, optional
        The activation of a network that comes as a state dict, as for :func:`ntkrs.convert.from_state_dict`.
    outputs : str or callable
        For a torch module, as for :func:`ntkrs.convert.record`.

    Returns
    -------
    Watch
        ``watch(step, model)`` records one step, ``print(watch)`` is a table, ``watch.plot()`` a figure, and
        ``watch.to_pandas()`` a data frame. A model is a ``Network``, a torch module, or a state dict of linear layers.
        Its kernel is the mean over outputs. A module is recorded in evaluation mode, and left as it was.

    Raises
    ------
    TypeError, ValueError
        If ``every`` is not a positive integer. Models and probes are checked by each call.

    Notes
    -----
    Each recorded step takes one kernel and one eigendecomposition, N³.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> X, y = np.eye(3), np.array([1.0, -1.0, 0.5])
    >>> net = ntkrs.mlp(depth=1, width=64, outputs=1, activation="relu").init(in_features=3, rng=0)
    >>> watch = ntkrs.diagnostics.watch(X, every=20, y=y)
    >>> for step in range(0, 100, 10):
    ...     watch(step, net)
    ...     net, _ = net.train(X, y, learning_rate=0.5, steps=10)
    >>> [sight.step for sight in watch.sights], bool(watch.sights[-1].drift > 0)
    ([0, 20, 40, 60, 80], True)
    """

    def kernel(model: Any) -> Array:
        if isinstance(model, Mapping):
            if activation is None:
                raise ValueError("a state dict does not tell its activation: watch(X_probe, activation='relu')")
            model = convert.from_state_dict(model, activation)
        if hasattr(model, "ntk"):
            probe: Array = model.ntk(X_probe, outputs="mean")
            return probe
        if not hasattr(model, "named_modules"):
            raise TypeError(f"model is {shown(model)}, but a Network, a torch module or a state dict is needed")
        return _module_kernel(model, X_probe, outputs)

    labels = None if y is None else arrays.finite(arrays.copied(arrays.floating(y, "y")), "y")
    return Watch(kernel, labels, numbers.count(every, "every"))


def _draw(sights: list[Sight], ax: Any) -> Any:
    """Draw the recorded steps. The rank is relative to the first one."""
    from ntkrs import plot

    if ax is None:
        _, ax = plot.panels(5.4)
    steps = [sight.step for sight in sights]
    ranks = [sight.effective_rank / sights[0].effective_rank for sight in sights]
    ax.plot(steps, [sight.drift for sight in sights], "o-", color=plot.VERMILION, markersize=4, label="drift")
    ax.plot(steps, ranks, "s--", color=plot.GREY, markersize=4, label="effective rank / first")
    if sights[0].alignment is not None:
        ax.plot(steps, [sight.alignment for sight in sights], "^-.", color=plot.BLUE, markersize=4, label="alignment")
    ax.set(xlabel="step", ylim=(0, None))
    ax.legend()
    return ax.figure


def _module_kernel(module: Any, X: ArrayLike, outputs: Any) -> Array:
    """Return the kernel of a torch module in evaluation mode, which it leaves as it was."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        records = convert.record(module, X, outputs=outputs)
    finally:
        for layer, training in modes:
            layer.training = training
    return empirical_ntk(records, outputs="mean")
