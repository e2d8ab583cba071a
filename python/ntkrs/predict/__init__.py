"""Training dynamics and predictions of networks whose tangent kernel stays constant.

- :func:`gradient_descent_mse`: the outputs at any time of training on the square loss, in closed form.
- :func:`gradient_descent_mse_ensemble`: their mean and covariance over infinitely wide networks.
- :func:`gp_inference`: the end of training, and Gaussian process regression.
- :func:`gradient_descent`: training on any loss, integrated numerically.
- :func:`max_learning_rate`: the largest stable learning rate.

Examples
--------
>>> import numpy as np
>>> from ntkrs import mlp, predict
>>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
>>> kernel = mlp(depth=2, width=1, outputs=1, activation="relu").kernel()
>>> trained = predict.gradient_descent_mse(kernel(X), y)(t=None)
>>> posterior = predict.gp_inference(kernel, X, y)(X)
>>> bool(np.allclose(trained, y)) and bool(np.allclose(posterior.mean, y))  # both fit the targets
True
"""

from ntkrs._public import publish
from ntkrs.predict.ensemble import Ensemble, gradient_descent_mse_ensemble
from ntkrs.predict.gaussian import Gaussian
from ntkrs.predict.gp import GpInference, gp_inference
from ntkrs.predict.integration import State
from ntkrs.predict.learning_rates import max_learning_rate
from ntkrs.predict.modes import KrylovReport, Modes, Report
from ntkrs.predict.mse import MseDynamics, gradient_descent_mse
from ntkrs.predict.ode import LossDynamics, gradient_descent
from ntkrs.predict.prediction import Prediction

__all__ = [
    "Ensemble",
    "Gaussian",
    "GpInference",
    "KrylovReport",
    "LossDynamics",
    "Modes",
    "MseDynamics",
    "Prediction",
    "Report",
    "State",
    "gp_inference",
    "gradient_descent",
    "gradient_descent_mse",
    "gradient_descent_mse_ensemble",
    "max_learning_rate",
]

publish(globals())
