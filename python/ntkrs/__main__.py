"""``python -m ntkrs`` runs the command ``ntkrs``."""

import sys

from ntkrs.cli import main

sys.exit(main())
