"""Differentiable games of your own: `python run.py --env function --env.source examples/games.py:saddle`."""

import jax.numpy as jnp

from envs import differentiable_game


@differentiable_game(players=2, dim=1)
def saddle(params, coupling=1.0, attraction=0.1):
    """Two players who circle each other while both are drawn to 0."""
    x, y = params[:, 0]
    turn = coupling * x * y
    return jnp.stack([-turn, turn]) - attraction * params[:, 0] ** 2 / 2
