"""The activations and covariances that tests run over. A new activation needs one entry here."""

from oracles import activations

#: Closed forms that are linear on both sides of 0, by the names that tests show.
PIECEWISE_LINEAR = {"identity": "identity", "relu": "relu", "leaky_relu": ("leaky_relu", 0.01), "abs": "abs"}

#: Closed forms that grow no faster than their argument.
MODERATE = PIECEWISE_LINEAR | {
    "erf": "erf",
    "gelu": "gelu",
    "sin": "sin",
    "sin with a phase": ("sin", 1.3, 0.9, 0.4),
    "cos": "cos",
    "cos with a phase": ("cos", 0.7, 1.2, -0.3),
    "rbf": "rbf",
    "narrow rbf": ("rbf", 2.5),
    "gaussian": "gaussian",
    "wide gaussian": ("gaussian", 0.1),
}

#: Closed forms with an infinite slope at ρ = ±1, of which the next layer's angle takes a root again.
JUMPS = {"sign": "sign", "step": ("rectified_power", 0)}

#: Closed forms that grow faster than their argument, with the largest factor by which they multiply its relative error,
#: for arguments of order 1.
GROWING = {
    "rectified_power 1": (("rectified_power", 1), 1),
    "rectified_power 2": (("rectified_power", 2), 2),
    "rectified_power 3": (("rectified_power", 3), 3),
    "monomial 0": (("monomial", 0), 1),
    "monomial 1": (("monomial", 1), 1),
    "monomial 2": (("monomial", 2), 2),
    "monomial 3": (("monomial", 3), 3),
    "polynomial": (("polynomial", 0.5, -1.0, 0.25, 0.1, 0.05), 4),
    "hermite 2": (("hermite", 2), 2),
    "hermite 5": (("hermite", 5), 5),
    "exp": (("exp", 0.8, 0.5), 2),
}

#: Activations with a closed form, by the names that tests show.
CLOSED_FORMS = MODERATE | JUMPS | {name: activation for name, (activation, _) in GROWING.items()}

#: Activations whose dual is a series, by their names in mlp().
SERIES = {
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softplus": "softplus",
    "softsign": "softsign",
    "mish": "mish",
    "gelu_tanh": "gelu_tanh",
    "elu": ("elu", 0.7),
    "selu": "selu",
}

#: Every activation of the package, a Python function apart.
EVERY = CLOSED_FORMS | SERIES

PERFECT = [(1.0, 1.0, 1.0), (0.5, 2.0, -1.0)]  # |rho| = 1
COVARIANCES = [(1.0, 1.0, 0.5), (0.7, 1.9, -0.6), (2.0, 0.3, 0.7), (1.0, 1.0, 0.999), *PERFECT]


def is_steep(activation):
    """Return True for kinds that grow faster than their argument: layers multiply relative errors by their degree."""
    return activations.parse(activation)[0] in {activations.parse(growing)[0] for growing, _ in GROWING.values()}


def is_smooth(activation):
    """Return True if φ is analytic."""
    return activations.parse(activation)[0] not in activations.KINKED


def named(table):
    """Return the activations of a table for pytest.mark.parametrize, under their names."""
    return {"argvalues": list(table.values()), "ids": list(table)}
