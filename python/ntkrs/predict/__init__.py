"""Training dynamics and prediction of networks whose tangent kernel stays constant.

:func:`gradient_descent_mse` gives the outputs at any time of training on the square loss in closed form,
:func:`gradient_descent_mse_ensemble` their mean and covariance over infinitely wide networks, :func:`gp_inference`
the end of training and Gaussian process regression, and :func:`gradient_descent` integrates any loss.
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

__all__ = [
    "Ensemble",
    "Gaussian",
    "GpInference",
    "KrylovReport",
    "LossDynamics",
    "Modes",
    "MseDynamics",
    "Report",
    "State",
    "gp_inference",
    "gradient_descent",
    "gradient_descent_mse",
    "gradient_descent_mse_ensemble",
    "max_learning_rate",
]

publish(globals())
