"""Draw the figure of the README, which is that of the front page: ``python docs/readme_figure.py``."""

import re
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import _style
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def main() -> None:
    """Run the code of the front page, and write its figure to ``_static/front.png``."""
    mpl.rcParams.update(_style.SETTINGS)
    text = (HERE / "index.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```\{code-cell\}\n(?:---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^```", text, re.DOTALL | re.MULTILINE)
    exec("\n".join(cells), {})  # noqa: S102 it is ours
    plt.gcf().savefig(HERE / "_static" / "front.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
