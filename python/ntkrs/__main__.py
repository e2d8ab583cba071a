"""``python -m ntkrs`` runs the command ``ntkrs``."""

import signal
import sys


def main() -> int:
    """Run the command ``ntkrs`` with the arguments of the process, and return its exit status.

    Ctrl-C ends the process without a word while modules are loaded, and after the end of the command.
    """
    handler = signal.getsignal(signal.SIGINT)
    quiet = signal.SIG_DFL if handler is signal.default_int_handler else handler
    signal.signal(signal.SIGINT, quiet)
    from ntkrs import cli

    signal.signal(signal.SIGINT, handler)
    try:
        return cli.main()
    finally:
        signal.signal(signal.SIGINT, quiet)


if __name__ == "__main__":
    sys.exit(main())
