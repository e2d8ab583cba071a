"""Training of finite networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs import _core
from ntkrs._checks import arrays, memory, numbers
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs._runtime import display
from ntkrs._runtime.progress import reporter
from ntkrs._runtime.warning import warn
from ntkrs.errors import DivergenceError, StalledTrainingWarning
from ntkrs.network._ntk import ntk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

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

    def _repr_html_(self) -> str:
        """Return a table of the records, which notebooks show."""
        drift = [None] * len(self.step) if self.kernel_drift is None else self.kernel_drift
        found = zip(
            self.step, *(map(display.number, of) for of in (self.loss, self.parameter_distance, drift)), strict=True
        )
        return display.table("Training", ["step", "loss", "‖θ − θ_0‖", "drift of Θ"], found)


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
    rule = (numbers.positive(learning_rate, "learning_rate"), numbers.momentum(momentum))
    start = _Start(state, x, _alpha(alpha, state.dtype), numbers.boolean(centred, "centred"))
    with _memory(state, len(x), stops, wanted):
        since, trained, history = _run(start, y, loss, rule, stops, wanted, progress)
    _warn_if_flat(since, float(history.loss[-1]), rule, state.dtype)
    return trained, history


def loss_gradient(state: NetworkState, X: ArrayLike, y: ArrayLike, loss: Loss) -> Array:
    """Return the gradient of a loss with respect to θ, (P,)."""
    x = state.batch(X, "X")
    if len(x) == 0:
        raise ValueError("X has no samples, but a loss is a mean over at least 1")
    targets = arrays.converted(_targets(y, loss, len(x), state.arch.outputs), state.dtype, "y")
    out = arrays.output(None, state.theta.shape, state.dtype, [], "the gradient")
    needed = len(x) * state.values_per_sample() * state.dtype.itemsize
    memory.require(needed, f"a gradient over {len(x)} samples", "Average gradients over blocks of rows of X.")
    state.core.loss_gradient((x, targets, out), loss)
    return out


class _Start(NamedTuple):
    """The network and the inputs to train on; the model is α f, or α (f − f_0) if ``centred``."""

    state: NetworkState
    x: Array
    alpha: float
    centred: bool


def _run(
    start: _Start,
    y: ArrayLike,
    loss: Loss,
    rule: tuple[float, float],
    stops: _Stops,
    wanted: frozenset[str],
    progress: Progress,
) -> tuple[int | None, NetworkState, History]:
    """Train. Return the step from which on the gradient was exactly 0, if any, the state, and the records."""
    state, x, scale, centre = start
    if "kernel_drift" in wanted:
        x = arrays.copied(x)  # one set of inputs for all kernels, whatever other threads write
    targets = _targets(y, loss, len(x), state.arch.outputs)
    data = (x, arrays.converted(targets, state.dtype, "y"))
    recorder = _Recorder(state, x, stops.count, wanted)
    report = reporter(progress)
    steps = (rule[0] / scale**2, rule[1])
    trainer = _core.Trainer(state.core_network(scale), data, loss, steps, centre, stops.last, report)
    done = 0
    try:
        for row, stop in enumerate(stops.steps()):
            trainer.advance(stop - done, done, stops.last, report)
            done = stop
            recorder.add(row, trainer, trainer.state(done, stops.last, report))
    except FloatingPointError as error:
        raise DivergenceError(
            f"training diverged with learning_rate {rule[0]} and momentum {rule[1]}: {error}. {_HINT}"
        ) from None
    if report is not None:
        report(done, done)
    return trainer.flat_since(), recorder.state(trainer), recorder.history(stops)


def _warn_if_flat(since: int | None, loss: float, rule: tuple[float, float], dtype: np.dtype[Any]) -> None:
    """Warn if the gradient has been exactly 0 from step ``since`` on, biases of the last layer apart, but not the loss.

    A loss below the square of the smallest normal number counts as 0: the gradient of such residuals underflows.
    """
    if since is None or loss <= float(np.finfo(dtype).tiny) ** 2:
        return
    reason = (
        "From the start no output depends on these parameters, as for inputs of 0, or the residuals cancel exactly."
        if since == 0
        else f"Steps with learning_rate {rule[0]} and momentum {rule[1]} have probably driven all units to where their "
        f"activation is flat. {_HINT}"
    )
    warn(
        f"the gradient has been exactly 0 since step {since}, biases of the last layer apart, but the loss is "
        f"{loss:.6g}: training has come to a stop. {reason}",
        StalledTrainingWarning,
    )


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
            try:
                change = ntk(self.state(trainer), self._x)
            except ValueError:  # that of the first state was finite
                raise FloatingPointError(f"the kernel of X leaves the range of {self._x.dtype}") from None
            change -= self._kernel
            self._drift[row] = _norm(change) / _norm(self._kernel)

    def state(self, trainer: _core.Trainer) -> NetworkState:
        """Return the state of the network at present."""
        theta = np.empty_like(self._start.theta)
        trainer.parameters(theta)
        return self._start.with_parameters(theta)

    def history(self, stops: _Stops) -> History:
        """Return the history, whose rows were recorded after ``stops`` steps."""
        return History(stops.array(), self._loss, self._distance, self._outputs, self._drift)


def _norm(values: Array) -> float:
    """Return the Frobenius norm, also where the squares of entries overflow."""
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(values))
    if np.isfinite(norm):
        return norm
    rest, exponent = scaled(values.astype(np.float64))
    return float(ldexp(np.linalg.norm(rest), exponent))


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


@dataclass(frozen=True)
class _Stops:
    """The numbers of steps after which to record: 0, every multiple of ``every`` below ``last``, and ``last``."""

    last: int
    every: int

    @property
    def count(self) -> int:
        """The number of records."""
        return -(-self.last // self.every) + 1

    def steps(self) -> Iterator[int]:
        """Yield the numbers of steps."""
        yield from range(0, self.last, self.every)
        yield self.last

    def array(self) -> NDArray[np.int64]:
        """Return the numbers of steps."""
        return np.append(np.arange(0, self.last, self.every, dtype=np.int64), np.int64(self.last))


def _stops(steps: int, record_every: int | None) -> _Stops:
    """Return the numbers of steps after which to record."""
    last = numbers.integer(steps, "steps")
    if last < 0:
        raise ValueError(f"steps is {last}, but must be >= 0")
    every = max(last, 1) if record_every is None else numbers.integer(record_every, "record_every")
    if every < 1:
        raise ValueError(f"record_every is {every}, but must be at least 1")
    return _Stops(last, every)


def _record(record: Iterable[str]) -> frozenset[str]:
    """Return the set of values to record, after checking their names."""
    names = [record] if isinstance(record, str) else arrays.sequence(record, "record")
    return frozenset(numbers.choice(name, "record", _RECORDS) for name in names)


def _memory(state: NetworkState, samples: int, stops: _Stops, wanted: frozenset[str]) -> AbstractContextManager[None]:
    """Reject training for which activations, deltas, packed parameters or records do not fit in memory."""
    values = samples * state.arch.outputs
    records = stops.count * (4 * 8 + ("outputs" in wanted) * values * state.dtype.itemsize)
    work = samples * state.values_per_sample() + 6 * state.theta.size
    if "kernel_drift" in wanted:
        work += 2 * values**2
    needed = records + work * state.dtype.itemsize
    if 2 * records > needed:
        what = f"a history of {stops.count} records, one for every {stops.every} of {stops.last} steps,"
        return memory.required(needed, what, "Pass a larger record_every, or leave values out of record.")
    remedy = "Train on fewer samples (rows of X), use float32, or record less."
    return memory.required(needed, f"training on {samples} samples", remedy)
