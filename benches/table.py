"""Print the figures of ``python -m ntkrs.bench --json FILE`` as a Markdown table.

python benches/table.py benches/results/amd-epyc-2-cores.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("work", "dtype", "seconds", "of the limit", "memory", "NumPy", "its memory", "ratio")


def row(figures: dict[str, Any]) -> list[str]:
    """The cells of one benchmark."""
    return [
        figures["work"],
        figures["dtype"],
        f"{figures['seconds']:.3g} s",
        f"{figures['fraction_of_limit']:.0%}",
        f"{figures['memory_mb']:.0f} MB",
        f"{figures['numpy_seconds']:.3g} s",
        f"{figures['numpy_memory_mb']:.0f} MB",
        f"{figures['numpy_over_ntkrs']:.1f} ×",
    ]


def main() -> None:
    """Print the table of one file."""
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    versions = results["versions"]
    print(f"{results['cpu']}, {versions['threads']} threads, {versions['instructions']}; NumPy {versions['numpy']}.\n")
    for cells in (COLUMNS, ["---"] * len(COLUMNS), *map(row, results["rows"])):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
