"""The only place where users' images are converted or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ntkrs._checks import arrays
from ntkrs._checks.advice import channels_first, not_images

if TYPE_CHECKING:
    from ntkrs._typing import Array, ArrayLike


def batch(values: ArrayLike, name: str) -> Array:
    """Return ``values`` as finite images (N, H, W, C), converted by :func:`ntkrs._checks.arrays.floating`.

    Raises
    ------
    TypeError, ValueError
        If they are not four-dimensional, have no pixels or no channels, hold NaN or an infinity, or as for
        ``floating``.
    """
    array = arrays.floating(values, name)
    if array.ndim != 4 or 0 in array.shape[1:]:
        raise ValueError(not_images(array.shape, name))
    return arrays.finite(array, name, axes="image, row, column, channel")


def pair(X: ArrayLike, Z: ArrayLike | None) -> tuple[Array, Array | None]:
    """Return images X and Z as arrays of the same dtype, the wider of their own. If Z is None, it stays None.

    Raises
    ------
    TypeError, ValueError
        As for :func:`batch`, or if images of X and Z differ in their height, width or number of channels.
    """
    x = batch(X, "X")
    if Z is None:
        return x, None
    z = batch(Z, "Z")
    if z.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"Z has images of shape {z.shape[1:]}, but X has images of shape {x.shape[1:]}: height, width and channels "
            f"must be the same.{channels_first(*x.shape[1:]) or channels_first(*z.shape[1:])}"
        )
    x, z = arrays.same_dtype(x, z)
    return x, z


def inputs(values: ArrayLike, name: str, kernel: object) -> Array:
    """Return finite inputs of a kernel: images if it takes them, otherwise rows (N, n_0).

    A function that does not tell, by an attribute ``takes_images``, may take both.

    Raises
    ------
    TypeError, ValueError
        As for :func:`batch`, or for :func:`ntkrs._checks.arrays.batch` and ``finite``.
    """
    takes_images = getattr(kernel, "takes_images", None)
    array = arrays.floating(values, name)
    if takes_images or (takes_images is None and array.ndim == 4):
        return batch(array, name)
    return arrays.finite(arrays.batch(array, name), name)


def unlike(z: tuple[int, ...], x: tuple[int, ...]) -> str:
    """Return the message for rows or images Z of a shape that does not fit to that of the training inputs."""
    if len(x) == 2:
        return f"Z has {z[1]} features, but the training inputs had {x[1]}"
    return f"Z has images of shape {z[1:]}, but the training inputs had images of shape {x[1:]}"
