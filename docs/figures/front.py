"""Draw the figure of the README, which is that of the front page: ``python docs/figures/front.py``."""

import re
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(DOCS))

import _style  # noqa: E402  from the folder of the documentation


def main() -> None:
    """Run the code of the front page, and write its figure to ``_static/front.png``."""
    mpl.rcParams.update(_style.SETTINGS)
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```\{code-cell\}\n(?:---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^```", text, re.DOTALL | re.MULTILINE)
    exec("\n".join(cells), {})  # noqa: S102 it is ours
    plt.gcf().savefig(DOCS / "_static" / "front.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
