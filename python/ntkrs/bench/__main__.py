"""``python -m ntkrs.bench``."""

from ntkrs.bench import main

main()
