"""The style of the figures of the documentation: that of ntkrs itself."""

import os
import re
import tempfile
from pathlib import Path

import matplotlib as mpl

from ntkrs.plot import STYLE

#: The colours of Okabe and Ito, which readers with any colour vision can tell apart.
COLORS = 'cycler("color", ["0072B2", "D55E00", "009E73", "CC79A7", "E69F00", "56B4E9"])'
SETTINGS = STYLE | {
    "axes.prop_cycle": COLORS,
    "figure.figsize": (6.4, 3.4),
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "ntkrs",
}

#: Vector graphics, and numbers of eight digits without their type: 0.5 and not np.float64(0.5).
KERNEL = """
c.InlineBackend.figure_formats = {"svg"}
c.PlainTextFormatter.float_precision = "%.8g"
c.InteractiveShellApp.exec_lines = ["import numpy", "numpy.set_printoptions(legacy='1.25')", "del numpy"]
"""


def reset(_gallery: object = None, _script: object = None) -> None:
    """Give the next script of the gallery this style."""
    mpl.rcdefaults()
    mpl.rcParams.update(SETTINGS)


def described(figure: "mpl.figure.Figure") -> str:
    """Return the titles, axes and legends of a figure in words, for readers who do not see it."""
    parts = []
    for ax in figure.axes:
        title = next((text for where in ("left", "center", "right") if (text := ax.get_title(loc=where))), "")
        axes = " against ".join(filter(None, (ax.get_ylabel(), ax.get_xlabel())))
        names = ", ".join(label for label in ax.get_legend_handles_labels()[1] if ax.get_legend())
        parts.append("; ".join(filter(None, (title, axes, names))))
    return " | ".join(dict.fromkeys(filter(None, parts))).replace("\n", " ")


def scraper(block: tuple, variables: dict, settings: dict) -> str:
    """Save the figures of a block of the gallery, each with its description as the alternative text."""
    import matplotlib.pyplot as plt
    from sphinx_gallery.scrapers import matplotlib_scraper

    texts = [described(plt.figure(number)) for number in plt.get_fignums()]
    remaining = iter(texts)
    written = matplotlib_scraper(block, variables, settings)
    return re.sub(r":alt: .*", lambda old: f":alt: {next(remaining, '') or old[0][6:]}", written)


def configure_kernels() -> None:
    """Let the kernels of executed pages draw in this style, as vector graphics."""
    folder = Path(tempfile.mkdtemp(prefix="ntkrs-docs-"))
    profile = folder / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text(KERNEL, encoding="utf-8")
    texts = {name: str(value).strip("()") if isinstance(value, tuple) else value for name, value in SETTINGS.items()}
    lines = (f"{name}: {text}\n" for name, text in texts.items())
    (folder / "matplotlibrc").write_text("".join(lines), encoding="utf-8")
    os.environ |= {"IPYTHONDIR": str(folder), "MATPLOTLIBRC": str(folder / "matplotlibrc")}
    os.environ["TQDM_DISABLE"] = "1"  # no progress bars in the results of a page
