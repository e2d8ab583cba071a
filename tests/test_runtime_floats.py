"""Results do not depend on the floating-point environment that another library left on the calling thread."""

import ctypes
import mmap
import platform
from contextlib import contextmanager

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Identity, Relu, Sequential, Tanh, _core, mlp

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64") or platform.system() == "Windows",
    reason="the test switches MXCSR by machine code of x86-64 in executable pages of POSIX systems",
)

#: Flush results to zero (bit 15), and take subnormal operands for zero (bit 6).
FLUSH = 0x8040

#: Numbers whose squares are subnormal.
TINY = np.random.default_rng(0).uniform(1, 2, (300, 8)) * 1e-160


def _machine_code(code):
    """Return a function that is called with the address of 32 bits, and the pages that hold it."""
    pages = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    pages.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address), pages


@contextmanager
def flushing():
    """Flush subnormal numbers to zero on this thread, as libraries built with -ffast-math do."""
    store, stored = _machine_code(b"\x0f\xae\x1f\xc3")  # stmxcsr [rdi]; ret
    load, loaded = _machine_code(b"\x0f\xae\x17\xc3")  # ldmxcsr [rdi]; ret
    before, after = ctypes.c_uint32(), ctypes.c_uint32()
    store(ctypes.addressof(before))
    load(ctypes.addressof(ctypes.c_uint32(before.value | FLUSH)))
    try:
        yield
        store(ctypes.addressof(after))
        assert after.value & FLUSH == FLUSH, "a call did not bring back the environment of the caller"
    finally:
        load(ctypes.addressof(before))
        del store, load, stored, loaded


def network():
    """A network with weights so small that its outputs and kernels are subnormal."""
    net = Sequential(Dense(40), Identity(), Dense(2)).init(8, rng=0)
    return net.with_parameters(net.parameters * 1e-155)


NET = network()
LINEAR = mlp(0, 1, 1).kernel()
DEEP = mlp(2, 1, 1, "relu", 0.5).kernel()
ROWS = TINY * 1e155  # of size 1e-5
SMALL = TINY * 1e5
SUBNORMAL = TINY[0] * 1e-150

CALLS = {
    "kernel": lambda: LINEAR(TINY),
    "kernel of two batches": lambda: LINEAR(TINY[:100], TINY[100:]),
    "deep kernel": lambda: DEEP(TINY),
    "kernel.diag": lambda: DEEP.diag(TINY),
    "kernel.operator": lambda: LINEAR.operator(TINY) @ np.ones(300),
    "kernel.gradient": lambda: LINEAR.gradient(TINY, get="nngp").sigma_w,
    "network": lambda: NET(ROWS),
    "jacobian": lambda: NET.jacobian(SMALL),
    "ntk": lambda: NET.ntk(ROWS),
    "jvp": lambda: NET.jvp(ROWS, NET.parameters),
    "vjp": lambda: NET.vjp(ROWS, np.full((300, 2), 1e-155)),
    "train": lambda: mlp(0, 1, 1).init(8, rng=0).train(TINY, TINY[:, 0], 1e300, 3)[0].parameters,
    "ensemble": lambda: ntkrs.ensemble_ntk(mlp(0, 1, 1), TINY[:20], seeds=2).mean,
    "derivatives": lambda: np.stack(_core.derivatives(Tanh().spec(), SUBNORMAL)),
}


def subnormal(values):
    """Return True if a value is subnormal, so that the test is about what it says."""
    sizes = np.abs(values)
    return bool(((sizes > 0) & (sizes < np.finfo(np.float64).tiny)).any())


def test_the_mode_is_on():
    values = np.full(8, np.finfo(np.float64).tiny)
    with flushing():
        flushed = values * 0.5
    assert not flushed.any()
    assert (values * 0.5 > 0).all()


@pytest.mark.parametrize("threads", [1, 7])
@pytest.mark.parametrize("name", CALLS)
def test_subnormal_numbers_survive(name, threads):
    """A number of threads that no other test uses: they start, and take their environment from the calling thread."""
    expected = CALLS[name]()
    with ntkrs.threads(threads), flushing():
        found = CALLS[name]()
    if name != "train":
        assert subnormal(expected)
    assert np.array_equal(found, expected)


def test_new_threads_do_not_inherit_it():
    """A call long enough to wake all threads of a pool that starts within the mode."""
    x = np.random.default_rng(1).uniform(1, 2, (1200, 50)) * 1e-160
    expected = mlp(3, 1, 1, "erf").kernel()(x)
    with ntkrs.threads(9), flushing():
        found = mlp(3, 1, 1, "erf").kernel()(x)
    assert subnormal(expected)
    assert np.array_equal(found, expected)


def test_networks_are_built_without_it():
    """Parameters are packed, and scaled, when a network is made."""
    theta = np.full(16, 1e-310)
    arch = Sequential(Dense(2), Relu(), Dense(4))
    expected = arch.init(4, rng=0).with_parameters(theta)(np.ones((3, 4)) * 1e300)
    with flushing():
        found = arch.init(4, rng=0).with_parameters(theta)(np.ones((3, 4)) * 1e300)
    assert np.array_equal(found, expected)
