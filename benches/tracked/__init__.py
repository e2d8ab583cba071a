"""Benchmarks that are tracked over commits: ``pip install asv``, then ``cd benches && asv run main~20..main``."""
