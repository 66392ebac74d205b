"""Command line of Parley: `python run.py --env ipd --players 4`, `python run.py list`, `python run.py --help`."""

import sys

from experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
