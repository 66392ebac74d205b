"""Solvers, one file each; `equilibria.names()` lists them."""
