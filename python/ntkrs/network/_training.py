"""Training of finite networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs import _core
from ntkrs._checks import arrays, memory, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.network._ntk import ntk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Loss, Progress, Record
    from ntkrs.network._state import NetworkState

_LOSSES = ("mse", "softmax_cross_entropy")
_RECORDS = ("outputs", "kernel_drift")

_HINT = (
    "Take less than ntkrs.predict.max_learning_rate of the kernel net.ntk(X), and less again if that kernel grows in "
    "training."
)


class History(NamedTuple):
    """The R records that :meth:`ntkrs.Network.train` makes.

    Attributes
    ----------
    step : (R,) ndarray of int
        The number of steps before each record: 0, every multiple of ``record_every``, and the last.
    loss : (R,) ndarray
        The loss L, not divided by ``alpha²``.
    parameter_distance : (R,) ndarray
        ``‖θ_t − θ_0‖``.
    outputs : (R, N, O) ndarray or None
        The outputs of the model on the training inputs; None unless ``record`` names them.
    kernel_drift : (R,) ndarray or None
        ``‖Θ_t − Θ_0‖_F / ‖Θ_0‖_F`` on the training inputs; None unless ``record`` names it.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> net = mlp(depth=1, width=8, outputs=1).init(1, rng=0)
    >>> _, history = net.train([[1.0]], [1.0], learning_rate=0.1, steps=5, record_every=2)
    >>> history.step
    array([0, 2, 4, 5])
    """

    step: NDArray[np.int64]
    loss: NDArray[np.float64]
    parameter_distance: NDArray[np.float64]
    outputs: Array | None
    kernel_drift: NDArray[np.float64] | None


def train(
    state: NetworkState,
    X: ArrayLike,
    y: ArrayLike,
    learning_rate: float,
    steps: int,
    *,
    momentum: float,
    loss: Loss,
    record_every: int | None,
    alpha: float,
    centred: bool,
    record: Iterable[Record],
    progress: Progress,
) -> tuple[NetworkState, History]:
    """Return the state after training, and the records, as :meth:`ntkrs.Network.train` describes them."""
    x = state.batch(X, "X")
    if len(x) == 0:
        raise ValueError("X has no samples, but training needs at least 1")
    stops, wanted = _stops(steps, record_every), _record(record)
    _require(state, len(x), len(stops), wanted)
    if "kernel_drift" in wanted:
        x = arrays.copied(x)  # one set of inputs for all kernels, whatever other threads write
    targets = _targets(y, loss, len(x), state.arch.outputs)
    rate = numbers.positive(learning_rate, "learning_rate")
    scale = _alpha(alpha, state.dtype)
    data = (x, arrays.converted(targets, state.dtype, "y"))
    rule = (rate / scale**2, numbers.momentum(momentum))
    centre = numbers.boolean(centred, "centred")
    recorder = _Recorder(state, x, len(stops), wanted)
    report = reporter(progress)
    trainer = _core.Trainer(state.core_network(scale), data, loss, rule, centre, stops[-1], report)
    done = 0
    try:
        for row, stop in enumerate(stops):
            trainer.advance(stop - done, done, stops[-1], report)
            done = stop
            recorder.add(row, trainer, trainer.state(done, stops[-1], report))
    except FloatingPointError as error:
        raise ValueError(
            f"training diverged with learning_rate {rate} and momentum {rule[1]}: {error}. {_HINT}"
        ) from None
    if report is not None:
        report(done, done)
    return recorder.state(trainer), recorder.history(stops)


class _Recorder:
    """A history that is filled row by row."""

    def __init__(self, state: NetworkState, x: Array, rows: int, wanted: frozenset[str]) -> None:
        self._start, self._x = state, x
        self._loss, self._distance = np.empty(rows), np.empty(rows)
        shape = (rows, len(x), state.arch.outputs)
        self._outputs: Array | None = np.empty(shape, state.dtype) if "outputs" in wanted else None
        self._drift = np.empty(rows) if "kernel_drift" in wanted else None
        self._kernel = None if self._drift is None else ntk(state, x)
        if self._kernel is not None and not self._kernel.any():
            raise ValueError(
                "X gives a kernel that is all 0: nothing drifts, and nothing is trained. Leave kernel_drift out of "
                "record"
            )

    def add(self, row: int, trainer: _core.Trainer, state: tuple[float, float]) -> None:
        """Fill one row with the present values. ``state`` holds the loss and the distance."""
        self._loss[row], self._distance[row] = state
        if self._outputs is not None:
            trainer.outputs(self._outputs[row])
        if self._drift is not None and self._kernel is not None:
            change = ntk(self.state(trainer), self._x)
            change -= self._kernel
            self._drift[row] = np.linalg.norm(change) / np.linalg.norm(self._kernel)

    def state(self, trainer: _core.Trainer) -> NetworkState:
        """Return the state of the network at present."""
        theta = np.empty_like(self._start.theta)
        trainer.parameters(theta)
        return self._start.with_parameters(theta)

    def history(self, stops: list[int]) -> History:
        """Return the history, whose rows were recorded after ``stops`` steps."""
        return History(np.array(stops, np.int64), self._loss, self._distance, self._outputs, self._drift)


def _targets(y: ArrayLike, loss: object, samples: int, outputs: int) -> Array:
    """Return the targets for a loss, (N, O), after checking them."""
    if numbers.choice(loss, "loss", _LOSSES) == "softmax_cross_entropy":
        return _probabilities(y, samples, outputs)
    return arrays.targets(y, (samples, outputs), "y")


def _probabilities(y: ArrayLike, samples: int, outputs: int) -> Array:
    """Return probabilities (N, O) for labels (N,) or probabilities, after checking them."""
    values = arrays.floating(y, "y")
    if values.ndim == 1:
        labels = arrays.targets(values, (samples, 1), "y")[:, 0]
        bad = ~np.isin(labels, np.arange(outputs))
        if bad.any():
            i = int(np.argmax(bad))
            raise ValueError(f"y holds {labels[i]} at ({i},), but labels are the integers 0 to {outputs - 1}")
        return np.eye(outputs)[labels.astype(np.intp)]
    values = arrays.targets(values, (samples, outputs), "y")
    sums = values.sum(1, dtype=np.float64)
    # float32 probabilities of O classes sum to 1 within about O roundings.
    bad = (values < 0).any(1) | (abs(sums - 1) > 1e-6 * max(10, outputs))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"row {i} of y sums to {sums[i]}, but probabilities are >= 0 and sum to 1 in each row")
    return values


def _alpha(alpha: float, dtype: np.dtype[Any]) -> float:
    """Return α if it leaves at least two digits to changes of f."""
    scale = numbers.positive(alpha, "alpha")
    low, high = 1e-6, 0.01 / float(np.finfo(dtype).eps)
    if not low <= scale <= high:
        raise ValueError(
            f"alpha is {scale}, but must be between {low} and {high:.1g} for a network of {dtype}: beyond, the "
            "rounding of f times alpha drowns its changes"
        )
    return scale


def _stops(steps: int, record_every: int | None) -> list[int]:
    """Return the numbers of steps after which to record."""
    last = numbers.integer(steps, "steps")
    if last < 0:
        raise ValueError(f"steps is {last}, but must be >= 0")
    every = max(last, 1) if record_every is None else numbers.integer(record_every, "record_every")
    if every < 1:
        raise ValueError(f"record_every is {every}, but must be at least 1")
    return [*range(0, last, every), last]


def _record(record: Iterable[str]) -> frozenset[str]:
    """Return the set of values to record, after checking their names."""
    names = [record] if isinstance(record, str) else arrays.sequence(record, "record")
    return frozenset(numbers.choice(name, "record", _RECORDS) for name in names)


def _require(state: NetworkState, samples: int, records: int, wanted: frozenset[str]) -> None:
    """Raise MemoryError unless the activations and deltas, the packed parameters and the records fit in memory."""
    count = samples * state.values_per_sample() + 6 * state.theta.size
    if "outputs" in wanted:
        count += records * samples * state.arch.outputs
    if "kernel_drift" in wanted:
        count += 2 * (samples * state.arch.outputs) ** 2
    remedy = "Train on fewer samples, use float32, or record less."
    memory.require(count * state.dtype.itemsize, f"training on {samples} samples", remedy)
