"""Networks as models and weights of other libraries: V and c of ``h = x V + c`` in the layout of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from ntkrs import activations
from ntkrs._architecture import layer_scales
from ntkrs._checks import arrays
from ntkrs._checks.advice import shown
from ntkrs._runtime.optional import require
from ntkrs.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ntkrs._typing import Array
    from ntkrs.activations import Elementwise

#: Classes of torch.nn for activations without parameters.
_TORCH: dict[type[Elementwise], tuple[str, dict[str, Any]]] = {
    activations.Identity: ("Identity", {}),
    activations.Relu: ("ReLU", {}),
    activations.Tanh: ("Tanh", {}),
    activations.Sigmoid: ("Sigmoid", {}),
    activations.Silu: ("SiLU", {}),
    activations.Selu: ("SELU", {}),
    activations.Softsign: ("Softsign", {}),
    activations.Mish: ("Mish", {}),
    activations.Gelu: ("GELU", {}),
    activations.GeluTanh: ("GELU", {"approximate": "tanh"}),
    # Above its threshold torch returns x itself. By default that is 20, where the difference is 1e-10 of x.
    activations.Softplus: ("Softplus", {"threshold": 40.0}),
}

#: Names of scikit-learn.
_SKLEARN: dict[type[Elementwise], str] = {
    activations.Identity: "identity",
    activations.Relu: "relu",
    activations.Tanh: "tanh",
    activations.Sigmoid: "logistic",
}


class Exported(NamedTuple):
    """A dense layer ``h = x V + c``, and the parts of it that are trained."""

    weight: Array
    bias: Array | None
    trains_weight: bool
    trains_bias: bool


def checked(net: Any) -> Network:
    """Return a network that a user passed.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if not isinstance(net, Network):
        hint = " Draw its parameters first: arch.init(in_features)." if hasattr(net, "init") else ""
        raise TypeError(f"net is {shown(net)}, but a Network is needed.{hint}")
    return net


def exported(net: Network) -> Iterator[Exported]:
    """Yield the dense layers of a network in the standard parameterization, as copies in its dtype.

    Raises
    ------
    ValueError
        If an entry exceeds the range of the dtype.
    """
    scales = layer_scales(net.arch, net.in_features, net.parameterization)
    for index, (own, weight, bias) in enumerate(zip(scales, net.weights, net.biases, strict=True)):
        by_weight, by_bias, tau_w, tau_b = own
        shift = None if bias is None else _scaled(bias, by_bias, f"biases[{index}]")
        yield Exported(_scaled(weight, by_weight, f"weights[{index}]"), shift, tau_w != 0, tau_b != 0)


def _scaled(values: Array, scale: float, name: str) -> Array:
    """Return a copy of values, multiplied by a scale in float64 and rounded once; the bits themselves if it is 1."""
    if scale == 1:
        return values.copy()
    with np.errstate(over="ignore"):  # refused below
        result = cast("Array", (scale * values.astype(np.float64)).astype(values.dtype))
    return arrays.finite(result, f"{name} times its scale {scale:.6g}")


def state_dict(net: Network, layers: Sequence[str] | None) -> dict[str, Array]:
    """Return ``name.weight`` (n_{l+1}, n_l) and ``name.bias`` of each dense layer.

    Raises
    ------
    TypeError, ValueError
        If ``layers`` are not one name for each dense layer, each once.
    """
    count = len(net.arch.dense)
    if isinstance(layers, str):
        raise TypeError(f"layers is {layers!r}, but a sequence of names is needed, such as [{layers!r}]")
    names = [str(2 * index) for index in range(count)] if layers is None else list(layers)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"layers holds {shown(name)}, but names are needed")
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"layers is {names}, but the network has {count} dense layers: pass one name for each")
    result: dict[str, Array] = {}
    for name, layer in zip(names, exported(net), strict=True):
        result[f"{name}.weight"] = cast("Array", np.ascontiguousarray(layer.weight.T))
        if layer.bias is not None:
            result[f"{name}.bias"] = layer.bias
    return result


def keras_weights(net: Network) -> list[Array]:
    """Return the kernel (n_l, n_{l+1}) and the bias of each dense layer, in order."""
    parts = [(layer.weight, layer.bias) for layer in exported(net)]
    return [array for pair in parts for array in pair if array is not None]


def torch_module(net: Network) -> Any:
    """Return a ``torch.nn.Sequential``. No random number of torch is drawn.

    Raises
    ------
    ImportError
        If torch is missing.
    ValueError
        If torch.nn has no module for an activation.
    """
    after = [_torch_activation(index, layer) for index, layer in enumerate(net.arch.layers) if hasattr(layer, "spec")]
    torch = require("torch", "PyTorch", "torch")
    modules: list[Any] = []
    for index, layer in enumerate(exported(net)):
        inputs, outputs = layer.weight.shape
        linear = torch.nn.Linear(inputs, outputs, bias=layer.bias is not None, device="meta")
        weight = torch.from_numpy(np.ascontiguousarray(layer.weight.T))
        linear.weight = torch.nn.Parameter(weight, requires_grad=layer.trains_weight)
        if layer.bias is not None:
            linear.bias = torch.nn.Parameter(torch.from_numpy(layer.bias), requires_grad=layer.trains_bias)
        modules.append(linear)
        if index < len(after):
            name, options = after[index]
            modules.append(getattr(torch.nn, name)(**options))
    return torch.nn.Sequential(*modules)


def _torch_activation(index: int, activation: Any) -> tuple[str, dict[str, Any]]:
    """Return the class of torch.nn that computes an activation, and its arguments.

    Raises
    ------
    ValueError
        If there is none.
    """
    if type(activation) is activations.LeakyRelu:
        return "LeakyReLU", {"negative_slope": activation.slope}
    if type(activation) is activations.Elu:
        return "ELU", {"alpha": activation.alpha}
    if type(activation) not in _TORCH:
        known = ", ".join(cls.__name__ for cls in (*_TORCH, activations.LeakyRelu, activations.Elu))
        raise ValueError(
            f"layer {index} is {shown(activation)}, for which torch.nn has no module. It has one for {known}. Load "
            "to_state_dict(net) into a module of your own."
        )
    return _TORCH[type(activation)]


def sklearn_estimator(net: Network, classes: Any) -> Any:
    """Return a fitted ``MLPRegressor``, or ``MLPClassifier`` if there are classes.

    Raises
    ------
    ImportError
        If scikit-learn is missing.
    TypeError, ValueError
        If hidden layers have different activations, or one that scikit-learn lacks, or classes do not fit the outputs.
    """
    neural = require("sklearn.neural_network", "scikit-learn", "sklearn")
    options = {
        "hidden_layer_sizes": tuple(dense.width for dense in net.arch.dense[:-1]),
        "activation": _sklearn_activation(net),
    }
    parts = list(exported(net))
    estimator = (neural.MLPRegressor if classes is None else neural.MLPClassifier)(**options)
    estimator.coefs_ = [layer.weight for layer in parts]
    estimator.intercepts_ = [
        np.zeros(layer.weight.shape[1], net.dtype) if layer.bias is None else layer.bias for layer in parts
    ]
    estimator.n_features_in_, estimator.n_outputs_ = net.in_features, net.arch.outputs
    estimator.n_layers_ = len(parts) + 1
    estimator.out_activation_ = "identity"
    # The state before the first step, from which partial_fit goes on.
    estimator.n_iter_ = estimator.t_ = estimator._no_improvement_count = 0  # noqa: SLF001
    estimator.loss_curve_, estimator.best_loss_ = [], np.inf
    if classes is not None:
        _set_classes(estimator, classes, net.arch.outputs)
    return estimator


def _sklearn_activation(net: Network) -> str:
    """Return the name of the one activation of all hidden layers."""
    found = dict.fromkeys(net.arch.activations)
    names = ", ".join(cls.__name__ for cls in _SKLEARN)
    if len(found) > 1:
        raise ValueError(
            f"the hidden layers have the activations {', '.join(map(repr, found))}, but those of scikit-learn have one "
            f"for all, of {names}. Use to_torch(net), or to_keras_weights(net)."
        )
    for activation in found:
        if type(activation) not in _SKLEARN:
            raise ValueError(
                f"the activation is {shown(activation)}, but those of scikit-learn are {names}. Use to_torch(net), or "
                "to_keras_weights(net)."
            )
        return _SKLEARN[type(activation)]
    return "identity"


def _set_classes(estimator: Any, classes: Any, outputs: int) -> None:
    """Make a classifier with these labels."""
    values = arrays.sequence(classes, "classes")
    labels = np.asarray(values)
    if labels.ndim != 1 or len(labels) < 2 or len(np.unique(labels)) != len(labels):
        raise ValueError(f"classes is {shown(classes)}, but two or more labels are needed, each once")
    if (np.unique(labels) != labels).any():
        raise ValueError(f"classes is {shown(classes)}, but must ascend, as in scikit-learn: output i is classes[i]")
    wanted = 1 if len(labels) == 2 else len(labels)
    if outputs != wanted:
        raise ValueError(
            f"classes has {len(labels)} labels, for which scikit-learn has {wanted} outputs, but the network has "
            f"{outputs}"
        )
    binarizer = require("sklearn.preprocessing", "scikit-learn", "sklearn").LabelBinarizer()
    estimator._label_binarizer = binarizer.fit(labels)  # noqa: SLF001
    estimator.classes_ = estimator._label_binarizer.classes_  # noqa: SLF001
    estimator.out_activation_ = "logistic" if wanted == 1 else "softmax"
