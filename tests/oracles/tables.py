"""The activations and covariances that tests run over."""

from oracles import activations

#: Every activation with a closed-form dual, with parameters away from the defaults.
CLOSED_FORMS = [
    "identity",
    "relu",
    ("leaky_relu", 0.1),
    "abs",
    "sign",
    *[("rectified_power", n) for n in range(4)],
    "erf",
    "gelu",
    ("sin", 1.3, 0.9, 0.4),
    ("cos", 0.7, 1.2, 0.3),
    ("rbf", 0.6),
    ("exp", 0.8, 0.5),
    ("gaussian", 0.7),
    ("polynomial", 0.5, -1.0, 0.25, 0.1, 0.05),
    ("monomial", 3),
    ("hermite", 4),
]
OTHERS = ["tanh", "sigmoid", "silu", "softplus", ("elu", 0.7)]
PERFECT = [(1.0, 1.0, 1.0), (0.5, 2.0, -1.0)]  # |rho| = 1
COVARIANCES = [(1.0, 1.0, 0.5), (0.7, 1.9, -0.6), (2.0, 0.3, 0.7), (1.0, 1.0, 0.999), *PERFECT]


def is_smooth(activation):
    return activations.parse(activation)[0] not in activations.KINKED
