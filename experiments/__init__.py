"""Experiments: from a command line to a run directory that can be read, compared and resumed."""
