"""Trained models of other libraries, read (``ntkrs.convert.from_torch(module)``) and written (``to_torch(net)``).

Every reader returns a :class:`ntkrs.Network` in the standard parameterization, ``h = x V + c``. The network computes
the same function as the model in evaluation mode, and its NTK is taken in the model's own weights V and biases c.
Anything that a network cannot represent (convolutions, normalisation, attention, an activation that is not between two
dense layers) is rejected by name, never left out. The library that wrote the model is not imported, and no pickle is
read.

The network is float32 if all arrays are float32, float16 or bfloat16, and float64 otherwise.

A trained model does not record what its parameters were drawn from. So the scales of its architecture are unknown,
``sigma_w=None``. Outputs, Jacobians, :meth:`~ntkrs.Network.ntk` and training do not need them. ``net.arch.kernel()``
and ``net.arch.init()`` do, and raise ValueError. ``scales=`` fills them in: the name of the library whose defaults the
model started from (see :func:`init_scales`), or a pair (σ_w, σ_b) for all layers. The network does not depend on it.

Layers that the model has frozen become ``trainable=False``, and add nothing to the NTK. They are those with
``requires_grad=False`` in torch, and variables with ``trainable=False`` in Keras. Bare arrays, state dicts and Flax
parameters have no such flag, and count as trained.

Functions ``to_...`` convert networks back. A model that was read and is written again has the same bits.

Examples
--------
The NTK of one dense layer in V and c is ``⟨x, x'⟩ + 1``:

>>> import numpy as np, ntkrs
>>> net = ntkrs.convert.from_keras([np.zeros((2, 1)), np.zeros(1)], "relu")
>>> net.ntk([[3.0, 4.0]], outputs=0)
array([[26.]])
>>> net.arch
Sequential(Dense(width=1, sigma_w=None, sigma_b=None))

With scales, the architecture has a kernel at infinite width. Those of Keras are σ_w² = 2n/(n + m) = 4/3 and biases that
start at 0 and learn at the scale 1:

>>> net = ntkrs.convert.from_keras([np.zeros((2, 1)), np.zeros(1)], "relu", scales="keras")
>>> net.arch.kernel()([[3.0, 4.0]], get="nngp")  # σ_w² |x|²/n
array([[16.66666667]])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ntkrs._public import publish
from ntkrs.convert._flax import read_params
from ntkrs.convert._keras import read_weights
from ntkrs.convert._record import Recording, record
from ntkrs.convert._safetensors import read_file, refuse_path
from ntkrs.convert._scales import InitScales, WidthScale, filled, init_scales
from ntkrs.convert._sklearn import read_estimator
from ntkrs.convert._torch import read_module, read_state
from ntkrs.convert._writers import to_keras_weights, to_sklearn, to_state_dict, to_torch
from ntkrs.network import Network

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ntkrs._typing import ArrayLike
    from ntkrs.activations import Elementwise
    from ntkrs.convert._scales import Scale
    from ntkrs.convert._standard import Standard

    #: The scales of a converted architecture: those of a library, or (σ_w, σ_b).
    Scales: TypeAlias = Literal["torch", "keras", "flax", "sklearn"] | tuple[Scale, Scale] | None

__all__ = [
    "InitScales",
    "Recording",
    "WidthScale",
    "from_flax",
    "from_keras",
    "from_safetensors",
    "from_sklearn",
    "from_state_dict",
    "from_torch",
    "init_scales",
    "record",
    "to_keras_weights",
    "to_sklearn",
    "to_state_dict",
    "to_torch",
]


def from_torch(module: Any, *, scales: Scales = None) -> Network:
    """Convert a PyTorch module into a network.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Linear``, or a ``Sequential`` of ``Linear``, activations, ``Dropout``, ``Flatten``, ``Identity`` and nested
        ``Sequential``. Dropout does nothing, as in evaluation mode. Flatten does nothing either, since inputs are
        (N, n_0) rows.
    scales : str or (sigma_w, sigma_b), optional
        The scales of the architecture: "torch", "keras", "flax" or "sklearn" for the defaults of that library, as
        :func:`init_scales` gives them, or a pair of numbers for all layers. By default they stay unknown, and
        ``net.arch`` has no kernel at infinite width. The network itself does not depend on them.

    Returns
    -------
    Network

    Raises
    ------
    TypeError
        If a layer is of another class, or of a subclass: normalisation, for example, which is never read as if it did
        nothing. The message names its place, such as ``module[2][0]``. If ``scales`` is neither a name nor a pair.
    ValueError
        If a layer has hooks or shares its parameters with another layer, if an activation has parameters that make it
        a different function from the one here (such as a Softplus of low threshold), if an activation is not between
        two dense layers, or if a layer has its weight frozen and its bias not, or the other way round.

    Notes
    -----
    The parameters are copied. φ' at a kink is that of torch. Above its threshold, 20, torch's Softplus returns x
    itself, which differs from the softplus here by 1e-10 of x.

    The NTK is J Jᵀ, where J is the Jacobian of ``module(X)`` in the parameters that the module trains. Frozen layers
    (``requires_grad=False``) are ``trainable=False``, so after ``module.requires_grad_(False)`` the NTK is 0.

    Examples
    --------
    >>> import numpy as np, ntkrs, torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> net = ntkrs.convert.from_torch(module)
    >>> X = np.eye(3, dtype=np.float32)
    >>> bool(np.allclose(net(X), module(torch.from_numpy(X)).detach().numpy(), atol=1e-6))
    True
    """
    refuse_path(module, "module", "a torch.nn.Module")
    return _network(read_module(module), scales)


def from_sklearn(estimator: Any, *, scales: Scales = None) -> Network:
    """Convert a fitted scikit-learn ``MLPRegressor`` or ``MLPClassifier`` into a network.

    Parameters
    ----------
    estimator : MLPRegressor or MLPClassifier
        A fitted estimator.
    scales : str or (sigma_w, sigma_b), optional
        As in :func:`from_torch`.

    Returns
    -------
    Network
        Its values are those *before* the estimator's output activation (``out_activation_``): the predictions of a
        regressor, or the logits of a classifier, which has a single logit for two classes.

    Raises
    ------
    TypeError
        If the estimator is of another class. For a pipeline, pass its last step, and transform the inputs by the
        others.
    ValueError
        If the estimator is not fitted.

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
    return Network.from_standard(*filled(read_estimator(estimator), scales, estimator.activation))


def from_keras(
    weights: Sequence[ArrayLike] | Sequence[Sequence[ArrayLike | None]],
    activation: str | Elementwise | Sequence[str | Elementwise],
    *,
    scales: Scales = None,
) -> Network:
    """Convert the weights of a Keras model into a network.

    Parameters
    ----------
    weights : list of arrays
        ``model.get_weights()``: for each dense layer in order, the kernel (n_l, n_{l+1}), followed by the bias
        (n_{l+1},) if the layer has one. Or a list of pairs (kernel, bias); a layer without a bias is (kernel, None) or
        (kernel,).
    activation : str or activation, or a sequence of these
        The activation of all hidden layers, or one for each hidden layer. It is a name (``"relu"``, ``"tanh"``) or an
        object (``LeakyRelu(0.2)``). Leave out the activation of the output layer: a network returns the values before
        it.
    scales : str or (sigma_w, sigma_b), optional
        As in :func:`from_torch`.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        If an array does not belong to a dense layer, shapes do not fit, an activation is unknown, or its name stands
        for several functions in Keras (``"leaky_relu"``); or if a kernel is frozen (a variable with
        ``trainable=False``) and its bias is not, or the other way round.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> net = ntkrs.convert.from_keras([np.eye(2), np.array([0.0, 1.0]), np.ones((2, 1))], "relu")
    >>> net([[3.0, -2.0]])  # relu(3) + relu(-2 + 1)
    array([[3.]])
    """
    refuse_path(weights, "weights", "a list of arrays")
    return _network(read_weights(weights, activation), scales)


def from_flax(
    params: Mapping[str, Any],
    activation: str | Elementwise | Sequence[str | Elementwise],
    layers: Sequence[str] | None = None,
    *,
    scales: Scales = None,
) -> Network:
    """Convert the parameters of a Flax module into a network.

    Parameters
    ----------
    params : mapping
        ``{"params": {"Dense_0": {"kernel": (n_0, n_1), "bias": (n_1,)}, ...}}``, or the inner mapping alone. Dense
        layers may lie at any depth.
    activation : str or activation, or a sequence of these
        The activation of all hidden layers, or one for each hidden layer, as in :func:`from_keras`.
    layers : sequence of str, optional
        The names of the dense layers in order of application, such as ``"block/Dense_0"`` for a nested one. Only these
        are read. By default all layers are read, in the order of the numbers in their names.
    scales : str or (sigma_w, sigma_b), optional
        As in :func:`from_torch`.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        If an array does not belong to a dense layer, shapes do not fit, the order of the layers does not follow from
        their names, an activation is unknown, or its name stands for several functions in JAX (``"gelu"``).

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> params = {"params": {"Dense_0": {"kernel": np.eye(2)}, "Dense_1": {"kernel": np.ones((2, 1))}}}
    >>> ntkrs.convert.from_flax(params, "relu")([[3.0, -2.0]])
    array([[3.]])
    """
    refuse_path(params, "params", "a nested mapping")
    return _network(read_params(params, activation, layers), scales)


def from_state_dict(
    state: Mapping[str, Any],
    activation: str | Elementwise | Sequence[str | Elementwise],
    layers: Sequence[str] | None = None,
    *,
    scales: Scales = None,
) -> Network:
    """Convert a PyTorch state dict, or any mapping with the same layout, into a network.

    Parameters
    ----------
    state : mapping of str to tensor or array
        ``name.weight`` is (n_{l+1}, n_l) and ``name.bias`` is (n_{l+1},).
    activation : str or activation, or a sequence of these
        The activation of all hidden layers, or one for each hidden layer, as in :func:`from_keras`. A name stands for
        the function that torch computes by default.
    layers : sequence of str, optional
        The names of the dense layers in order of application. Only these are read. By default all layers are read, in
        the order of the numbers in their names: ``0``, ``2``, ``10``, or ``fc1``, ``fc2``.
    scales : str or (sigma_w, sigma_b), optional
        As in :func:`from_torch`.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        If an array does not belong to a dense layer, shapes do not fit, the order of the layers does not follow from
        their names, or an activation is unknown.

    Notes
    -----
    A state dict does not record what happens between its layers. You must know that they are applied in this order,
    with these activations between them and nothing else. :func:`from_torch` reads all of this from the module.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> state = {"0.weight": np.eye(2), "0.bias": np.array([0.0, 1.0]), "2.weight": np.ones((1, 2))}
    >>> ntkrs.convert.from_state_dict(state, "relu")([[3.0, -2.0]])
    array([[3.]])
    """
    refuse_path(state, "state", "a mapping")
    return _network(read_state(state, activation, layers), scales)


def from_safetensors(
    path: str | os.PathLike[str],
    activation: str | Elementwise | Sequence[str | Elementwise],
    layers: Sequence[str] | None = None,
    *,
    scales: Scales = None,
) -> Network:
    """Convert a state dict in a safetensors file into a network.

    Parameters
    ----------
    path : str or path
        The file, as written by ``safetensors.torch.save_file(module.state_dict(), path)``.
    activation, layers
        As in :func:`from_state_dict`.
    scales : str or (sigma_w, sigma_b), optional
        As in :func:`from_torch`.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If the file is incomplete, or of a kind that holds a pickle (``.pt``, ``.pth``, ``.pkl``, ...), or as in
        :func:`from_state_dict`.
    TypeError
        If an array has a dtype that NumPy lacks (bfloat16 without the package ml_dtypes), or as in
        :func:`from_state_dict`.
    OSError
        If the file does not exist or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, ntkrs
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.safetensors"
    ...     save_file({"0.weight": np.eye(2), "2.weight": np.ones((1, 2))}, path)
    ...     net = ntkrs.convert.from_safetensors(path, "relu")
    >>> net([[3.0, -2.0]])  # relu(3) + relu(-2)
    array([[3.]])
    """
    return _network(read_state(read_file(path), activation, layers), scales)


def _network(read: Standard, scales: Scales) -> Network:
    """Return the network, whose NTK is taken in V and c, with these scales in its architecture."""
    return Network.from_standard(*filled(read, scales))


publish(globals())
