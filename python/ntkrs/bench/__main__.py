"""The program ``python -m ntkrs.bench``."""

import signal
import sys
from functools import partial

from ntkrs._runtime import console
from ntkrs.bench import parser, run_command

arguments = console.parsed(parser(), None)
if arguments.case is not None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # of Ctrl-C the process tells that started this one
sys.exit(console.run(partial(run_command, arguments), (ImportError, OSError)))
