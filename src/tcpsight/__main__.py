"""``python -m tcpsight``."""

from tcpsight.cli.main import run

run()
