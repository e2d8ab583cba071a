"""Products with thin matrices: those of NumPy, with bits that do not depend on the threads of BLAS."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ntkrs.solvers.thin import times, transposed_times

#: A program that prints digests of products large enough for BLAS to use threads.
PROGRAM = """
import hashlib
import numpy as np
from ntkrs.solvers.thin import times, transposed_times

rng = np.random.default_rng(0)
for n, k in ((700, 100), (1000, 333)):
    U = rng.standard_normal((n, k))
    for U in (U, U.astype(np.float32)):
        for c in (1, 2, 3, 40):
            for product in (times(U, rng.standard_normal((k, c))), transposed_times(U, rng.standard_normal((n, c)))):
                print(hashlib.sha256(np.ascontiguousarray(product).tobytes()).hexdigest())
"""


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("n", "k", "c"),
    [(0, 3, 2), (5, 0, 2), (5, 3, 0), (1, 1, 1), (63, 5, 1), (64, 128, 33), (300, 129, 65), (257, 7, 2)],
)
def test_they_are_those_of_numpy(n, k, c, order, dtype):
    rng = np.random.default_rng(0)
    u = np.asarray(rng.standard_normal((n, k)), dtype, order=order)
    w, r = rng.standard_normal((k, c)), rng.standard_normal((n, c))
    exact = u.astype(np.float64)
    # Sums of at most 300 products of numbers below 5.
    np.testing.assert_allclose(times(u, w), exact @ w, rtol=0, atol=1e-12)
    np.testing.assert_allclose(transposed_times(u, r), exact.T @ r, rtol=0, atol=1e-12)


def test_the_bits_do_not_depend_on_the_threads_of_blas():
    """Checked for the BLAS at hand. OpenBLAS computes small products on one thread; others have not been tried."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env=os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads),
        ).stdout
        for threads in ("1", "2")
    }
    assert len(digests) == 1
