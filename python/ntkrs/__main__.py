"""``python -m ntkrs`` is the command ``ntkrs``."""

import sys

from ntkrs.cli import main

sys.exit(main())
