"""Trained models of other libraries as networks: ``ntkrs.convert.from_torch(module)`` and the like.

Every reader returns a :class:`ntkrs.Network` in the standard parameterization, h = x V + c: the function that the
model computes in evaluation, and the NTK in the model's own weights V and biases c. What a network here cannot be
(convolutions, normalisation, attention, activations elsewhere than between two dense layers) is refused by name, never
left out. No other library is imported, and no pickle is read.

A network has its dtype: float32 if all arrays are float32, float16 or bfloat16, else float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrs.convert._flax import read_params
from ntkrs.convert._keras import read_weights
from ntkrs.convert._safetensors import read_file, refuse_path
from ntkrs.convert._sklearn import read_estimator
from ntkrs.convert._standard import network
from ntkrs.convert._torch import read_module, read_state

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ntkrs._typing import ArrayLike
    from ntkrs.activations import Elementwise
    from ntkrs.network import Network

__all__ = ["from_flax", "from_keras", "from_safetensors", "from_sklearn", "from_state_dict", "from_torch"]


def from_torch(module: Any) -> Network:
    """Return the network that a PyTorch module is.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Linear``, or a ``Sequential`` (nested ones too) of ``Linear``, activations, ``Dropout``, ``Flatten`` and
        ``Identity``. Dropout is left out, as in evaluation; Flatten too, so that inputs are (N, n_0) rows.

    Raises
    ------
    TypeError
        If a layer is of another class, a subclass included, named by its place, such as ``module[2][0]``.
    ValueError
        If a layer has hooks or shares its parameters with another, if an activation has parameters that make it
        another function than here (GELU's tanh approximation), or is not between two dense layers.

    Notes
    -----
    The parameters are copied. Frozen ones (``requires_grad=False``) count as all others in the NTK. φ' at a kink is
    torch's. torch's Softplus is x itself beyond its threshold, 20: there it differs by 1e-10 of x.

    Examples
    --------
    With ``module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))``,
    ``from_torch(module)(X)`` are the values of ``module(X)``, and ``from_torch(module).ntk(X)`` is its Jacobian by all
    its parameters times the transpose of that.
    """
    refuse_path(module, "module", "a torch.nn.Module")
    return network(read_module(module))


def from_sklearn(estimator: Any) -> Network:
    """Return the network inside a fitted scikit-learn ``MLPRegressor`` or ``MLPClassifier``.

    Parameters
    ----------
    estimator : MLPRegressor or MLPClassifier
        Fitted. The network returns what comes *before* the estimator's output activation (its ``out_activation_``):
        predictions of a regressor, logits of a classifier, a single one if there are two classes.

    Raises
    ------
    TypeError
        If it is another estimator, such as a pipeline: pass its last step, and transform the inputs by the others.
    ValueError
        If it is not fitted.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> from sklearn.neural_network import MLPRegressor
    >>> X = np.random.default_rng(0).standard_normal((20, 3))
    >>> model = MLPRegressor(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=10_000, random_state=0).fit(X, X[:, 0])
    >>> bool(np.allclose(ntkrs.convert.from_sklearn(model)(X)[:, 0], model.predict(X)))
    True
    """
    refuse_path(estimator, "estimator", "a fitted estimator")
    return network(read_estimator(estimator))


def from_keras(
    weights: Sequence[ArrayLike] | Sequence[Sequence[ArrayLike | None]],
    activation: str | Elementwise | Sequence[str | Elementwise],
) -> Network:
    """Return the network of a Keras model's weights.

    Parameters
    ----------
    weights : list
        ``model.get_weights()``: the kernel (n_l, n_{l+1}) and the bias (n_{l+1},), if any, of each dense layer in
        turn. Or a list of pairs (kernel, bias), with None or nothing for no bias.
    activation : str or activation, or a sequence
        That of all hidden layers, or one for each: a name (``"relu"``, ``"tanh"``) or an object (``LeakyRelu(0.2)``).
        The output layer's is not part of a network: it returns what comes before.

    Raises
    ------
    TypeError, ValueError
        If arrays are there that no dense layer has, shapes do not fit, or an activation is unknown, or a name that
        Keras gives to several functions (``"leaky_relu"``).

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> net = ntkrs.convert.from_keras([np.eye(2), np.array([0.0, 1.0]), np.ones((2, 1))], "relu")
    >>> net([[3.0, -2.0]])  # relu(3) + relu(-2 + 1)
    array([[3.]])
    """
    refuse_path(weights, "weights", "a list of arrays")
    return network(read_weights(weights, activation))


def from_flax(
    params: Mapping[str, Any],
    activation: str | Elementwise | Sequence[str | Elementwise],
    layers: Sequence[str] | None = None,
) -> Network:
    """Return the network of a Flax module's parameters.

    Parameters
    ----------
    params : mapping
        ``{"params": {"Dense_0": {"kernel": (n_0, n_1), "bias": (n_1,)}, ...}}``, or the mapping within, at any depth.
    activation : str or activation, or a sequence
        That of all hidden layers, or one for each, as in :func:`from_keras`.
    layers : sequence of str, optional
        The names of the dense layers in order of application, ``"block/Dense_0"`` for nested ones. Only these are
        read. By default all, by the number in their names.

    Raises
    ------
    TypeError, ValueError
        If something is there that no dense layer has, shapes do not fit, the order cannot be told from the names, or an
        activation is unknown, or a name that JAX gives to several functions (``"gelu"``).

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> params = {"params": {"Dense_0": {"kernel": np.eye(2)}, "Dense_1": {"kernel": np.ones((2, 1))}}}
    >>> ntkrs.convert.from_flax(params, "relu")([[3.0, -2.0]])
    array([[3.]])
    """
    refuse_path(params, "params", "a nested mapping")
    return network(read_params(params, activation, layers))


def from_state_dict(
    state: Mapping[str, Any],
    activation: str | Elementwise | Sequence[str | Elementwise],
    layers: Sequence[str] | None = None,
) -> Network:
    """Return the network of a PyTorch state dict, or of any dict laid out like one.

    Parameters
    ----------
    state : mapping
        From ``name.weight`` to (n_{l+1}, n_l) and from ``name.bias`` to (n_{l+1},), tensors or arrays.
    activation : str or activation, or a sequence
        That of all hidden layers, or one for each, as in :func:`from_keras`. Names mean what torch computes by default.
    layers : sequence of str, optional
        The names of the dense layers in order of application. Only these are read. By default all, by the number in
        their names: ``0``, ``2``, ``10``, or ``fc1``, ``fc2``.

    Raises
    ------
    TypeError, ValueError
        If something is there that no dense layer has, shapes do not fit, the order cannot be told from the names, or an
        activation is unknown.

    Notes
    -----
    A state dict does not tell what happens between its layers. That they are applied in turn, with these activations
    between them and nothing else, is for you to know; :func:`from_torch` reads it from the module.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> state = {"0.weight": np.eye(2), "0.bias": np.array([0.0, 1.0]), "2.weight": np.ones((1, 2))}
    >>> ntkrs.convert.from_state_dict(state, "relu")([[3.0, -2.0]])
    array([[3.]])
    """
    refuse_path(state, "state", "a mapping")
    return network(read_state(state, activation, layers))


def from_safetensors(
    path: str | os.PathLike[str],
    activation: str | Elementwise | Sequence[str | Elementwise],
    layers: Sequence[str] | None = None,
) -> Network:
    """Return the network of a state dict in a safetensors file.

    Parameters
    ----------
    path : str or path
        The file, as ``safetensors.torch.save_file(module.state_dict(), path)`` writes it.
    activation, layers
        As in :func:`from_state_dict`.

    Raises
    ------
    ImportError
        If the package safetensors is missing: ``pip install 'ntkrs[convert]'``.
    ValueError
        If the file is not whole, or one of those that hold a pickle (``.pt``, ``.pth``, ``.pkl``, ...), and as
        :func:`from_state_dict`.
    TypeError
        If an array has a dtype that NumPy lacks (bfloat16).
    OSError
        If there is no such file, or it cannot be read.
    """
    return network(read_state(read_file(path), activation, layers))
