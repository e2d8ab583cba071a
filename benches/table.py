"""Print the figures of ``python -m ntkrs.bench --json FILE`` as a Markdown table.

python benches/table.py benches/results/intel-xeon-2-cores.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OURS = ("work", "dtype", "seconds", "of the limit", "memory")

#: Rivals, by their key in the results, with the title of their column.
RIVALS = {"numpy": "NumPy", "jax": "JAX", "torch": "torch"}


def measured(rows: list[dict[str, Any]]) -> list[str]:
    """The rivals that at least one benchmark has results for."""
    return [side for side in RIVALS if any(f"{side}_seconds" in row for row in rows)]


def columns(sides: list[str]) -> list[str]:
    """The titles of all columns."""
    return [*OURS, *(title for side in sides for title in (RIVALS[side], "its memory", "ratio"))]


def cells(row: dict[str, Any], sides: list[str]) -> list[str]:
    """The cells of one benchmark. A rival without results has empty cells, or "given up"."""
    result = [
        row["work"],
        row["dtype"],
        f"{row['seconds']:.3g} s",
        f"{row['fraction_of_limit']:.0%}",
        f"{row['memory_mb']:.0f} MB",
    ]
    for side in sides:
        if f"{side}_seconds" in row:
            seconds, memory = row[f"{side}_seconds"], row[f"{side}_memory_mb"]
            result += [f"{seconds:.3g} s", f"{memory:.0f} MB", f"{row[f'{side}_over_ntkrs']:.1f} ×"]
        else:
            result += ["given up" if side in row.get("refused", {}) else "", "", ""]
    return result


def main() -> None:
    """Print the table of one file."""
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    versions, rows = results["versions"], results["rows"]
    sides = measured(rows)
    rivals = ", ".join(f"{RIVALS[side]} {versions[side]}" for side in sides)
    print(f"{results['cpu']}, {versions['threads']} threads, {versions['instructions']}; {rivals}.\n")
    titles = columns(sides)
    for line in (titles, ["---"] * len(titles), *(cells(row, sides) for row in rows)):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
