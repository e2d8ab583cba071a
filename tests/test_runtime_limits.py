"""Limits of the number of threads: each is that of one Python thread."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import ntkrs
from ntkrs._runtime.threads import limited


def test_the_lowest_counts():
    with ntkrs.threads(4):
        with limited(8):
            assert ntkrs.get_num_threads() == 4
            with limited(2), limited(3):
                assert ntkrs.get_num_threads() == 2
            assert ntkrs.get_num_threads() == 4
        assert ntkrs.get_num_threads() == 4


def test_a_number_that_is_set_meanwhile_counts_afterwards():
    with ntkrs.threads(4):
        with limited(1):
            ntkrs.set_num_threads(3)
            assert ntkrs.get_num_threads() == 1
        assert ntkrs.get_num_threads() == 3


def test_a_number_that_is_set_within_is_restored_to_that_of_the_process():
    with ntkrs.threads(4):
        with limited(1):
            with ntkrs.threads(2):
                assert ntkrs.get_num_threads() == 1
            assert ntkrs.get_num_threads() == 1
        assert ntkrs.get_num_threads() == 4


def test_other_threads_are_not_limited():
    with ntkrs.threads(4), ThreadPoolExecutor(1) as executor, limited(1):
        assert executor.submit(ntkrs.get_num_threads).result() == 4
        assert ntkrs.get_num_threads() == 1


def test_a_limit_ends_with_an_exception():
    with ntkrs.threads(4):
        with pytest.raises(KeyError), limited(1):
            raise KeyError
        assert ntkrs.get_num_threads() == 4


def test_overlapping_blocks_leave_the_number_as_it_was():
    barrier = threading.Barrier(8)

    def block(index):
        barrier.wait()
        for _ in range(200):
            with limited(1 + index % 2):
                assert ntkrs.get_num_threads() == 1 + index % 2
            assert ntkrs.get_num_threads() == 5

    with ntkrs.threads(5):
        with ThreadPoolExecutor(8) as executor:
            list(executor.map(block, range(8)))
        assert ntkrs.get_num_threads() == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_forked_children_have_no_limit_of_other_threads():
    code = (
        "import os, threading, warnings, ntkrs; from ntkrs._runtime.threads import limited\n"
        "warnings.simplefilter('ignore')\n"
        "inside, done = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    with limited(1): inside.set(); done.wait()\n"
        "threading.Thread(target=hold).start(); inside.wait()\n"
        "with ntkrs.threads(3):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(ntkrs.get_num_threads())\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "done.set()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "3"
