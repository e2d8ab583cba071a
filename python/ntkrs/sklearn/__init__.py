"""Estimators and kernels for scikit-learn, which the extra ``ntkrs[sklearn]`` installs.

- :class:`NTKRegressor`, :class:`NTKClassifier`: kernel ridge regression and classification. Exact leave-one-out chooses
  the depth and the ridge.
- :class:`NTKGaussianProcessRegressor`: Gaussian process regression, with scales and noise learned by the evidence.
- :class:`NTKKernel`: the kernel, for KernelRidge, SVC, GaussianProcessRegressor, Nystroem and others.

Examples
--------
>>> from sklearn.datasets import load_iris
>>> from sklearn.svm import SVC
>>> from ntkrs.sklearn import NTKKernel
>>> X, y = load_iris(return_X_y=True)
>>> bool(SVC(kernel=NTKKernel(depth=2)).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9)
True
"""

from ntkrs._public import publish
from ntkrs._runtime.optional import require

require("sklearn", "scikit-learn", "sklearn")

from ntkrs.sklearn.classifier import NTKClassifier  # noqa: E402  only now is scikit-learn known to be there
from ntkrs.sklearn.gaussian_process import NTKGaussianProcessRegressor  # noqa: E402
from ntkrs.sklearn.kernel import NTKKernel  # noqa: E402
from ntkrs.sklearn.regressor import NTKRegressor  # noqa: E402

__all__ = ["NTKClassifier", "NTKGaussianProcessRegressor", "NTKKernel", "NTKRegressor"]

publish(globals())
