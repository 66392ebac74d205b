"""A dense layer that is fast where it is tiny and there are many of it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

__all__ = ["FEW_VALUES", "Linear"]

SMALL_KERNEL, FEW_ROWS, FEW_VALUES = 1024, 8, 256


@jax.custom_jvp
def _small_product(x: Any, kernel: Any) -> Any:
    """Product of few rows and a small kernel, as sums of products.

    XLA multiplies batches of tiny matrices on a CPU one by one; sums of products it fuses, in a tenth of the time. What
    sums over rows, the gradient of the kernel, it does not fuse well.
    """
    return (x[..., None] * kernel.reshape((1,) * (x.ndim - 1) + kernel.shape)).sum(axis=-2)


@_small_product.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, kernel), (dx, dkernel) = primals, tangents
    return _small_product(x, kernel), _small_product(dx, kernel) + x @ dkernel


@jax.custom_jvp
def _rows(index: Any, kernel: Any) -> Any:
    """One-hot vectors times W. In gradients, adding to few rows one by one is slower than a product."""
    return kernel[index]


@_rows.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (index, kernel), (_, dkernel) = primals, tangents
    few = len(kernel) <= FEW_VALUES
    return kernel[index], jax.nn.one_hot(index, len(kernel)) @ dkernel if few else dkernel[index]


class Linear(nn.Module):
    """The layer x W + b, as `flax.linen.Dense`, but fast where it is tiny and vmapped over learners, and for one-hot x.

    Attributes:
        units: of the output.
        one_hot: how many values an integer x has, which stands for a one-hot vector; None for none.
        use_bias: whether there is b.
        kernel_init: of W.
    """

    units: int
    one_hot: int | None = None
    use_bias: bool = True
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Outputs `[..., units]` of inputs `[..., F]`, or of integers `[...]`."""
        chosen = jnp.issubdtype(x.dtype, jnp.integer)
        kernel = self.param("kernel", self.kernel_init, (self.one_hot if chosen else x.shape[-1], self.units))
        if chosen:
            y = _rows(x, kernel)
        elif kernel.size <= SMALL_KERNEL and x.size <= FEW_ROWS * x.shape[-1]:
            y = _small_product(x, kernel)
        else:
            y = x @ kernel
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.units,))
        return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)
