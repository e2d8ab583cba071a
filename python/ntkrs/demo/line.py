"""Networks on the real line: the prior, the posterior of an ensemble, and one network while it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import ntkrs

if TYPE_CHECKING:
    from ntkrs.demo.data import Array, Settings

#: The training inputs. Targets are those of sin 4x.
TRAINING = (-0.85, -0.6, -0.35, 0.1, 0.5, 0.8)
SIGMA_W, SIGMA_B = 3.0, 0.5


@dataclass(frozen=True)
class Line:
    """Functions of one variable, from finite networks and from the closed forms of infinite width.

    Attributes
    ----------
    x : (M,) ndarray
        The inputs at which the functions are computed.
    train_x, train_y : (N,) ndarray
        The training points.
    width : int
        The width of the finite networks.
    prior : (S, M) ndarray
        The outputs of random networks.
    prior_std : (M,) ndarray
        Their standard deviation at infinite width.
    steps : (T,) ndarray
        Numbers of steps of gradient descent.
    trained : (S, M) ndarray
        The same networks after the last of these steps.
    mean, std : (M,) ndarray
        The mean and the standard deviation of trained networks at infinite width, after as many steps.
    learning : (T, M) ndarray
        The outputs of the first network after each of these steps.
    predicted : (T, M) ndarray
        The closed form for it, from its own kernel and outputs before training.

    Examples
    --------
    >>> from ntkrs import demo
    >>> result = demo.line(demo.Settings(line_width=64, line_seeds=2), seed=0, points=31)
    >>> result.trained.shape, bool(0 <= result.coverage <= 1)
    ((2, 31), True)
    """

    x: Array
    train_x: Array
    train_y: Array
    width: int
    prior: Array
    prior_std: Array
    steps: Array
    trained: Array
    mean: Array
    std: Array
    learning: Array
    predicted: Array

    @property
    def coverage(self) -> float:
        """The share of outputs of trained networks that lie within two standard deviations of the mean."""
        return float(np.mean(np.abs(self.trained - self.mean) <= 2 * self.std))


def line(settings: Settings, seed: int, points: int = 121) -> Line:
    """Train networks on six points of sin 4x, and compute what infinite width predicts of them.

    Parameters
    ----------
    settings : Settings
        ``line_width`` and ``line_seeds``: the width and the number of networks; ``line_steps``: the steps of gradient
        descent after which the first network is shown.
    seed : int
        The seed of the networks.
    points : int
        The number of inputs, on [−1.2, 1.2].

    Returns
    -------
    Line

    Examples
    --------
    >>> from ntkrs import demo
    >>> demo.line(demo.Settings(line_width=64, line_seeds=2), seed=0, points=31).steps.tolist()
    [0, 3, 30, 300]
    """
    arch = ntkrs.mlp(depth=2, width=settings.line_width, outputs=1, activation="erf", sigma_w=SIGMA_W, sigma_b=SIGMA_B)
    kernel, steps = arch.kernel(), np.array(settings.line_steps)
    x, z = np.array(TRAINING)[:, None], np.linspace(-1.2, 1.2, points)[:, None]
    y = np.sin(4 * x)
    rate = 0.5 * ntkrs.predict.max_learning_rate(kernel(x), y.size)
    nets = [arch.init(in_features=1, rng=[seed, network]) for network in range(settings.line_seeds)]
    limit = ntkrs.predict.gradient_descent_mse_ensemble(kernel, x, y, rate, optimizer="gd")
    after = limit(int(steps[-1]), z, compute_cov="diag")
    first = nets[0]
    closed = ntkrs.predict.gradient_descent_mse(first.ntk(x, outputs="mean"), y, rate, optimizer="gd")
    _, followed = closed(steps, first(x), first(z), first.ntk(z, x, outputs="mean"))
    return Line(
        x=z[:, 0],
        train_x=x[:, 0],
        train_y=y[:, 0],
        width=settings.line_width,
        prior=np.stack([net(z)[:, 0] for net in nets]),
        prior_std=np.sqrt(kernel.diag(z, "nngp")),
        steps=steps,
        trained=np.stack([_trained(net, x, y, rate, int(steps[-1]))(z)[:, 0] for net in nets]),
        mean=np.asarray(after.mean[:, 0], np.float64),
        std=np.asarray(after.std, np.float64),
        learning=np.stack([_trained(first, x, y, rate, int(count))(z)[:, 0] for count in steps]),
        predicted=np.asarray(followed[..., 0], np.float64),
    )


def _trained(net: ntkrs.Network, x: Array, y: Array, rate: float, steps: int) -> ntkrs.Network:
    """Return the network after this number of steps."""
    return net.train(x, y, rate, steps)[0] if steps else net
