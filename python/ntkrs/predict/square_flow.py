"""The flow of the square loss from any state of training, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks.scaling import product
from ntkrs.predict.rules import Flow, responses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.predict.modes import Modes


def advance(
    modes: Modes,
    rule: Flow,
    residual: NDArray[np.float64],
    velocity: NDArray[np.float64],
    t: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the changes of ``2^e α`` over times t, and its velocities at their ends, (T, n, c) each.

    Along an eigenvector, training from rest changes α by ``−φ_t(λ)`` times the residual. A velocity at the start adds
    the response of a damped oscillator to a push, if there is momentum.

    Parameters
    ----------
    modes : Modes
        The modes of the kernel; e is their exponent.
    rule : Flow
        Rate and momentum.
    residual, velocity : (n, c) ndarray
        ``f − Y`` and the velocity of ``2^e α`` at the start.
    t : (T,) ndarray
        Times since the start.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import predict
    >>> from ntkrs.predict.rules import Flow
    >>> from ntkrs.predict.square_flow import advance
    >>> modes = predict.gradient_descent_mse(np.eye(1) / 2, np.ones(1)).modes
    >>> change, _ = advance(modes, Flow(2.0, 0.0), np.ones((1, 1)), np.zeros((1, 1)), np.array([1.0]))
    >>> bool(np.allclose(change, 2 * (np.exp(-1) - 1)))
    True
    """
    components = modes.components(residual)
    _, response = responses(modes, rule, t)
    change = -response[..., None] * components
    if rule.momentum == 0:
        return _combined(modes, change), np.zeros(change.shape)
    impulse, slope = _push(rule, product((rule.rate, modes.scaled), modes.exponent), t[:, None])
    pushed = modes.components(velocity)
    force = product((rule.rate / rule.momentum, impulse), modes.exponent)
    change += impulse[..., None] * pushed
    return _combined(modes, change), _combined(modes, slope[..., None] * pushed - force[..., None] * components)


def _push(
    rule: Flow, x: NDArray[np.float64], t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the position and the velocity at time t of a mode that starts at 0 with velocity 1, without a force."""
    mu, friction = rule.momentum, 1 - rule.momentum
    discriminant = friction**2 - 4 * mu * x
    root = np.sqrt(np.maximum(np.abs(discriminant), np.finfo(float).tiny))
    with np.errstate(over="ignore"):  # of exponents, whose exponential is 0
        slow, width = 2 * x / (friction + root), root / mu
        between = -np.expm1(-width * t) / width
        real = np.exp(-slow * t)
        shrinking = np.exp(-friction / (2 * mu) * t)
        phase = np.minimum(width / 2 * t, 1e300)
    waves = 2 / width * np.sin(phase)
    overdamped = discriminant >= 0
    position = np.where(overdamped, real * between, shrinking * waves)
    slope = np.where(
        overdamped,
        real * (1 - (slow + width) * between),
        shrinking * (np.cos(phase) - friction / (2 * mu) * waves),
    )
    return position, slope


def _combined(modes: Modes, components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``V components`` for each time."""
    times, size, columns = components.shape
    stacked = np.moveaxis(components, 0, 1).reshape(size, times * columns)
    return np.moveaxis(modes.combine(stacked).reshape(-1, times, columns), 1, 0)
