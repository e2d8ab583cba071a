"""Slow, plain, independent references for the library's results.

These modules never import ntkrs: they use NumPy, SciPy, mpmath and the standard library only, and follow the
textbook formulas as literally as they can. ``tests/test_oracles_*.py`` check them against each other.
"""
