"""Fail if a hot loop of the compiled core calls a function or spills a register, or if an intrinsic is called.

Disassembles the extension module with objdump, and checks the instructions of the innermost loops that multiply and add
in the micro-kernels. Elsewhere, an intrinsic that is a function of its own reveals code that was compiled without its
instruction set: a closure or a function of arrays that was not inlined, and is ten times slower.

    python benches/check_loops.py [path of the extension module]
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from shutil import which

#: Functions with hot loops, and a divisor of the number of fused multiply-adds in the largest loop of each.
HOT = {
    "avx512::tile_f64": 24,
    "avx512::tile_f32": 24,
    "avx2::tile_f64": 8,
    "avx2::tile_f32": 8,
    "avx2::wide_tile_f64": 12,
    "avx2::wide_tile_f32": 12,
}

#: Vector intrinsics, which become instructions where they are inlined.
INTRINSIC = re.compile(r"core::core_arch::x86::(avx|fma|sse)")

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")


@dataclass(frozen=True)
class Instruction:
    """One line of a disassembly."""

    address: int
    name: str
    operands: str


def functions(path: str) -> tuple[dict[str, list[list[Instruction]]], list[str]]:
    """The instructions of each hot function, one list per instance, and the intrinsics that are called."""
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", path]
    found: dict[str, list[list[Instruction]]] = {name: [] for name in HOT}
    called: list[str] = []
    body: list[Instruction] | None = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as objdump:  # noqa: S603
        for line in objdump.stdout or ():
            if title := FUNCTION.match(line):
                if INTRINSIC.match(title[1]):
                    called.append(title[1])
                name = next((name for name in HOT if name in title[1]), None)
                body = None if name is None else []
                if name is not None and body is not None:
                    found[name].append(body)
            elif body is not None and (part := INSTRUCTION.match(line)):
                body.append(Instruction(int(part[1], 16), part[2], part[3]))
    return found, called


def loops(body: list[Instruction]) -> list[list[Instruction]]:
    """The innermost loops that multiply and add, each from the target of a backward jump to the jump."""
    spans = []
    for instruction in body:
        target = re.match(r"([0-9a-f]+)\b", instruction.operands) if instruction.name.startswith("j") else None
        if target and body[0].address <= int(target[1], 16) <= instruction.address:
            spans.append((int(target[1], 16), instruction.address))
    innermost = [
        a for a in spans if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in spans)
    ]  # fmt: skip
    bodies = [[i for i in body if start <= i.address <= end] for start, end in innermost]
    return [loop for loop in bodies if multiply_adds(loop)]


def multiply_adds(loop: list[Instruction]) -> int:
    """The number of fused multiply-adds in a loop."""
    return sum(instruction.name.startswith("vfmadd") for instruction in loop)


def faults(loop: list[Instruction]) -> list[str]:
    """The instructions that a hot loop must not have: calls, and accesses to the stack."""
    return [f"{i.address:x}: {i.name} {i.operands}" for i in loop if i.name.startswith("call") or "(%rsp" in i.operands]


def main() -> int:
    """Check every hot function; return the exit status."""
    if which("objdump") is None:
        print("objdump is not installed: the hot loops were not checked")
        return 0
    path = sys.argv[1] if len(sys.argv) > 1 else __import__("ntkrs._core", fromlist=["_core"]).__file__
    status = 0
    found, called = functions(path)
    for name, instances in found.items():
        hot = [loop for body in instances for loop in loops(body)]
        largest = max(map(multiply_adds, hot), default=0)
        bad = [fault for loop in hot for fault in faults(loop)]
        verdict = "ok" if not bad and largest % HOT[name] == 0 and largest else "BAD"
        print(f"{name}: {len(hot)} loops, at most {largest} multiply-adds: {verdict}")
        for fault in bad[:10]:
            print(f"    {fault}")
        status |= verdict == "BAD"
    print(f"intrinsics that are not inlined: {', '.join(called) or 'none'}")
    return int(status or bool(called))


if __name__ == "__main__":
    sys.exit(main())
