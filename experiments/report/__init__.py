"""`run.py report`: one HTML file that shows what is in directories, and opens offline."""

from experiments.report.command import report

__all__ = ["report"]
