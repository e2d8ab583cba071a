"""Names that users look for in a place where they are not, and where to find what they want."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

_OUTPUTS = ": its outputs are net(X)"
_NO_DEVICES = ": it is immutable, and computes on the CPU"

#: Attributes of networks.
NETWORK = {
    "apply": _OUTPUTS,
    "forward": _OUTPUTS,
    "predict": _OUTPUTS,
    "kernel": ": its empirical NTK is net.ntk(X), and the kernel at infinite width is net.arch.kernel()",
    "empirical_ntk": ": it is net.ntk(X)",
    "fit": ": net.train(X, y, learning_rate, steps) returns the trained network",
    "backward": ": products with its Jacobian are net.vjp(X, u), and the gradient of a loss is net.loss_gradient(X, y)",
    "grad": ": the gradient of a loss is net.loss_gradient(X, y)",
    "params": ": they are net.parameters",
    "named_parameters": ": they are net.weights and net.biases",
    "state_dict": ": ntkrs.convert.to_state_dict(net) makes one of PyTorch, net.save(path) a file",
    "load_state_dict": ": ntkrs.convert.from_state_dict reads one of PyTorch, Network.load(path) a file of net.save",
    "to": _NO_DEVICES,
    "cuda": _NO_DEVICES,
    "eval": _NO_DEVICES,
}

_NO_PARAMETERS = ": an architecture has no parameters. Draw them by net = arch.init(X.shape[1]); then net(X)"
_TRAIN = (
    ": a network is trained by arch.init(X.shape[1]).train(...), and its limit of infinite width by "
    "ntkrs.predict.gradient_descent_mse_ensemble(arch.kernel(), X, y)"
)

#: Attributes of architectures.
ARCHITECTURE = {
    **dict.fromkeys(("apply", "apply_fn", "forward", "predict", "parameters", "weights", "biases"), _NO_PARAMETERS),
    "init_fn": ": arch.init(in_features, rng) draws parameters",
    "kernel_fn": ": it is arch.kernel(), to be called with X and Z",
    "ntk": ": at infinite width it is arch.kernel()(X), and of a random network arch.init(X.shape[1]).ntk(X)",
    "nngp": ': it is arch.kernel()(X, get="nngp")',
    "fit": _TRAIN,
    "train": _TRAIN,
    "add": ": an architecture does not change. Build another one: Sequential(*arch.layers, ...)",
    "append": ": an architecture does not change. Build another one: Sequential(*arch.layers, ...)",
    "depth": ": the number of its hidden layers is len(arch.dense) - 1",
}

_ESTIMATORS = (
    ": pass it to ntkrs.predict, such as predict.gp_inference(kernel, X, y), or take an estimator of ntkrs.sklearn"
)

#: Attributes of kernels.
KERNEL = {
    "fit": _ESTIMATORS,
    "predict": _ESTIMATORS,
    "ntk": ": it is kernel(X)",
    "nngp": ': it is kernel(X, get="nngp")',
    "cov": ': it is kernel(X, get="nngp")',
    "init": ": kernel.arch.init(in_features) draws a network",
    "jacobian": ": a network has one, kernel.arch.init(in_features).jacobian(X)",
    "eigenvalues": ": they are ntkrs.diagnostics.spectrum(kernel(X)).eigenvalues",
    "spectrum": ": it is ntkrs.diagnostics.spectrum(kernel(X))",
}

_KERNELS = ": describe a network, arch = ntkrs.mlp(...). Its kernel is arch.kernel()(X), that of a network net.ntk(X)"

#: Names in the package.
PACKAGE = {
    "ntk": _KERNELS,
    "NTK": _KERNELS,
    "nngp": ': it is arch.kernel()(X, get="nngp"), with arch = ntkrs.mlp(...)',
    "stax": ": scripts for neural-tangents run with ntkrs.compat.neural_tangents",
    "batch": ": kernels are computed tile by tile, and need none",
    "linearize": ": it is net.linearize()",
    "empirical_ntk_fn": ": it is net.ntk(X, Z)",
    "monte_carlo_kernel_fn": ": it is ntkrs.ensemble_ntk",
    "load": ": it is ntkrs.Network.load(path)",
    "save": ": it is net.save(path)",
    "from_torch": ": it is ntkrs.convert.from_torch",
    "to_torch": ": it is ntkrs.convert.to_torch",
    "gp_inference": ": it is ntkrs.predict.gp_inference",
    "gradient_descent_mse": ": it is ntkrs.predict.gradient_descent_mse",
    "gradient_descent_mse_ensemble": ": it is ntkrs.predict.gradient_descent_mse_ensemble",
    "max_learning_rate": ": it is ntkrs.predict.max_learning_rate",
    "spectrum": ": it is ntkrs.diagnostics.spectrum",
    "NTKRegressor": ": it is ntkrs.sklearn.NTKRegressor",
    "NTKClassifier": ": it is ntkrs.sklearn.NTKClassifier",
}


class Elsewhere:
    """A base class whose AttributeErrors say where to find what a user looks for."""

    #: The ends of messages, by the name of the attribute.
    _ELSEWHERE: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # for type checkers it would be a promise of every attribute

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError. The message says where to look instead."""
            hint = self._ELSEWHERE.get(name, "")
            raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}{hint}", name=name, obj=self)


def of_package(name: str, known: Collection[str]) -> str:
    """Return the end of the message for a name that the package lacks: where it is, or similar names."""
    if name in PACKAGE or name.startswith("_"):
        return PACKAGE.get(name, "")
    spelled = {own.lower().replace("_", ""): own for own in known}
    plain = name.lower().replace("_", "")
    if plain in spelled:
        return f": did you mean {spelled[plain]}?"
    from difflib import get_close_matches  # it takes 4 ms to load

    similar = get_close_matches(plain, spelled, n=1)
    return f": did you mean {spelled[similar[0]]}?" if similar else ""


#: Classes of things that are no layers, and what to pass instead.
_NO_LAYERS: dict[type, str] = {
    list: "Pass the layers one by one: Sequential(*layers).",
    tuple: "Pass the layers one by one: Sequential(*layers).",
    str: "Pass an activation object, such as Relu().",
    type: "Did you forget the parentheses?",
    NoneType: "Pass Identity() where there is no activation.",
    int: "Pass Dense(width).",
}


def instead_of_layer(layer: object) -> str:
    """Return a hint at what to pass instead of something that is no layer, to be appended to a message."""
    for kind, hint in _NO_LAYERS.items():
        if isinstance(layer, kind):
            return f" {hint}"
    if type(layer).__module__.startswith("torch."):
        return " Modules of torch are read by ntkrs.convert.from_torch."
    return " Wrap a function: Activation(fn, derivative)." if callable(layer) else ""
