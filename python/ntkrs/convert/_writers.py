"""The public functions that turn networks into models and weights of other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ntkrs.convert import _export

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ntkrs._typing import Array
    from ntkrs.network import Network


def to_torch(net: Network) -> Any:
    """Convert a network into a PyTorch module.

    Parameters
    ----------
    net : Network
        The network. Its activations must have a module in ``torch.nn``.

    Returns
    -------
    torch.nn.Sequential
        ``Linear`` and activations in turn, in the dtype of the network. Parameters that the network does not train have
        ``requires_grad=False``.

    Raises
    ------
    ImportError
        If torch is missing: ``pip install 'ntkrs[torch]'``.
    ValueError
        If torch.nn has no module for an activation. The message names it, and a way out. If an entry of V or c exceeds
        the dtype.
    TypeError
        If ``net`` is not a Network.

    Notes
    -----
    The parameters are copied. They are V and c of ``h = x V + c``: in the NTK parameterization
    ``V = sigma_w/√n W`` and ``c = sigma_b b``, rounded once. So the module is the same function, but its gradients are
    with respect to V and c. A network that :func:`from_torch` read gives the bits of its module back.

    torch draws no random number, and its generator does not change.

    Examples
    --------
    >>> import numpy as np, ntkrs, torch
    >>> net = ntkrs.mlp(depth=1, width=8, outputs=2).init(in_features=3, rng=0)
    >>> module = ntkrs.convert.to_torch(net)
    >>> module
    Sequential(
      (0): Linear(in_features=3, out_features=8, bias=False)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=2, bias=False)
    )
    >>> X = np.eye(3)
    >>> bool(np.allclose(module(torch.from_numpy(X)).detach().numpy(), net(X)))
    True
    """
    return _export.torch_module(_export.checked(net))


def to_state_dict(net: Network, layers: Sequence[str] | None = None) -> dict[str, Array]:
    """Convert a network into a PyTorch state dict of NumPy arrays.

    Parameters
    ----------
    net : Network
        The network, with any activations: a state dict does not hold them.
    layers : sequence of str, optional
        The names of the dense layers in order of application. By default ``"0"``, ``"2"``, ``"4"``, ..., as in a
        ``Sequential`` that has an activation between each two.

    Returns
    -------
    dict of str to ndarray
        ``name.weight`` is (n_{l+1}, n_l) and ``name.bias`` is (n_{l+1},), in the dtype of the network.

    Raises
    ------
    TypeError, ValueError
        If ``net`` is not a Network, or ``layers`` does not have one name for each dense layer. If an entry of V or c
        exceeds the dtype.

    Notes
    -----
    The arrays are V and c, as in :func:`to_torch`. torch loads them by
    ``module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})``, and
    ``safetensors.numpy.save_file(state, path)`` writes them.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> net = ntkrs.convert.from_keras([np.eye(2), np.array([0.0, 1.0]), np.ones((2, 1))], "relu")
    >>> state = ntkrs.convert.to_state_dict(net, layers=["hidden", "out"])
    >>> {name: array.shape for name, array in state.items()}
    {'hidden.weight': (2, 2), 'hidden.bias': (2,), 'out.weight': (1, 2)}
    """
    return _export.state_dict(_export.checked(net), layers)


def to_keras_weights(net: Network) -> list[Array]:
    """Convert a network into the weights of a Keras model of dense layers.

    Parameters
    ----------
    net : Network
        The network, with any activations: the model has its own.

    Returns
    -------
    list of ndarray
        For each dense layer in order the kernel (n_l, n_{l+1}), followed by the bias (n_{l+1},) if it has one: for
        ``model.set_weights``.

    Raises
    ------
    TypeError, ValueError
        If ``net`` is not a Network. If an entry of V or c exceeds the dtype.

    Notes
    -----
    The arrays are V and c, as in :func:`to_torch`. Keras layers without biases need ``use_bias=False``.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> weights = [np.eye(2), np.array([0.0, 1.0]), np.ones((2, 1))]
    >>> same = ntkrs.convert.to_keras_weights(ntkrs.convert.from_keras(weights, "relu"))
    >>> [array.shape for array in same]
    [(2, 2), (2,), (2, 1)]
    """
    return _export.keras_weights(_export.checked(net))


def to_sklearn(net: Network, classes: Sequence[Any] | None = None) -> Any:
    """Convert a network into a fitted scikit-learn ``MLPRegressor`` or ``MLPClassifier``.

    Parameters
    ----------
    net : Network
        The network. All hidden layers have the same activation: ``Relu``, ``Tanh``, ``Sigmoid`` or ``Identity``.
    classes : sequence of labels, optional
        Ascending labels, of which output i is the logit of ``classes[i]``. With two labels there is one output, the
        logit of the second. By default the estimator is a regressor.

    Returns
    -------
    MLPRegressor or MLPClassifier
        It predicts, and ``partial_fit`` trains it further.

    Raises
    ------
    ImportError
        If scikit-learn is missing.
    TypeError, ValueError
        If ``net`` is not a Network, hidden layers have several activations or one that scikit-learn lacks, or the
        labels do not fit the outputs. If an entry of V or c exceeds the dtype.

    Notes
    -----
    The arrays are V and c, as in :func:`to_torch`. Layers without biases have intercepts of 0. Every layer of these
    estimators is trained.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> net = ntkrs.mlp(depth=1, width=8, outputs=3, activation="tanh").init(in_features=2, rng=0)
    >>> from sklearn.neural_network import MLPClassifier
    >>> model = ntkrs.convert.to_sklearn(net, classes=["blue", "green", "red"])
    >>> model.predict_proba(np.eye(2)).shape
    (2, 3)
    """
    return _export.sklearn_estimator(_export.checked(net), classes)
