"""Two-dimensional convolutions by their usual names, as the one in `_conv`."""

from typing import Any

from jaxtyping import Array, Shaped

from cnnjax.ops._check import (
    Ints,
    Padding,
    check,
    check_bias,
    check_fit,
    check_images,
    check_kernel,
    integer,
    paddings,
    pair,
    reach,
)
from cnnjax.ops._conv import conv_general_dilated
from cnnjax.ops._named import named
from cnnjax.ops._spec import DIMENSION_NUMBERS, AnyArray


Images = Shaped[Array, "n h2 w2 m"]


def conv2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    feature_group_count: int = 1,
) -> Images:
    """Convolves images with a kernel (cross-correlation, as in every CNN).

    `y[i, j, m] = b[m] + sum_{a, b, c} x[S i + D a - P, S j + D b - P, c] k[a, b, c, m]`

    >>> x = jnp.array([[1.0, 0, 5], [3, -1, -2], [4, 0, -3]])[None, ..., None]
    >>> kernel = jnp.array([[1.0, 0, 3], [0, 2, -2], [1, 3, -1]])[..., None, None]
    >>> conv2d(x, kernel, padding=1)[0, ..., 0].astype(int).tolist()
    [[12, -8, 3], [20, 25, -13], [5, 3, -7]]
    >>> kernel = jnp.array([[1.0, 0], [0, 2]])[..., None, None]
    >>> conv2d(x, kernel)[0, ..., 0].astype(int).tolist()
    [[-1, -4], [3, -7]]

    Args:
      x: images [n, h, w, c].
      kernel: [kh, kw, c / feature_group_count, m].
      bias: [m].
      strides: S, of rows and columns, in pixels.
      padding: P, pixels of zeros: one number, one per axis, or ((low, high), ...).
      dilation: D, distance of the kernel's taps, in pixels.
      feature_group_count: groups of channels that do not see each other.

    Returns:
      [n, h2, w2, m] with `h2 = floor((h + 2P - D (kh - 1) - 1) / S) + 1`.

    Raises:
      ValueError: if the shapes do not fit each other.

    Source: Dumoulin and Visin, 2016, https://arxiv.org/abs/1603.07285.
    """
    return _conv2d(
        x,
        kernel,
        bias,
        **_geometry(x, kernel, bias, strides, padding, dilation, feature_group_count),
    )


def _geometry(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None,
    strides: Any,
    padding: Any,
    dilation: Any,
    feature_group_count: Any,
) -> dict[str, Any]:
    """Checks the arguments; returns the static ones in full."""
    shapes = f"images {x.shape} and kernel {kernel.shape}"
    groups = integer(feature_group_count, "feature_group_count")
    check_kernel(x, kernel, groups, shapes)
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    sides = paddings(padding)
    check_fit(x, kernel, dilation, sides, shapes)
    check_bias(bias, kernel.shape[3], shapes)
    return {
        "strides": strides,
        "padding": sides,
        "dilation": dilation,
        "feature_group_count": groups,
    }


def _convolve(x, kernel, bias, *, strides, padding, dilation, feature_group_count):
    y = conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=DIMENSION_NUMBERS,
        feature_group_count=feature_group_count,
    )
    return _add_bias(y, bias)


def _add_bias(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias[None, None, None]


_conv2d = named(_convolve, "conv2d")
_depthwise_conv2d = named(_convolve, "depthwise_conv2d")


def depthwise_conv2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
) -> Images:
    """Convolves each channel with kernels of its own.

    `y[i, j, cM + m] = sum_{a, b} x[S i + D a - P, S j + D b - P, c] k[a, b, 0, cM + m]`

    Args:
      x: images [n, h, w, c].
      kernel: [kh, kw, 1, c * M] for M outputs of each channel.
      bias: [c * M].
      strides, padding, dilation: as in `conv2d`.

    Returns:
      [n, h2, w2, c * M].

    Raises:
      ValueError: if the shapes do not fit each other.

    Source: Howard et al., 2017, https://arxiv.org/abs/1704.04861.
    """
    check_images(x)
    geometry = _geometry(x, kernel, bias, strides, padding, dilation, x.shape[3])
    return _depthwise_conv2d(x, kernel, bias, **geometry)


def pointwise_conv2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    feature_group_count: int = 1,
) -> Images:
    """Mixes the channels of each pixel: a 1x1 convolution.

    `y[i, j, m] = bias[m] + sum_c x[i, j, c] k[c, m]`

    Args:
      x: images [n, h, w, c].
      kernel: [c / feature_group_count, m].
      bias: [m].
      feature_group_count: groups of channels that do not see each other.

    Returns:
      [n, h, w, m].

    Raises:
      ValueError: if the shapes do not fit each other.

    Source: Lin et al., 2013, https://arxiv.org/abs/1312.4400.
    """
    groups = integer(feature_group_count, "feature_group_count")
    _check_pointwise(x, kernel, bias, groups)
    return _pointwise_conv2d(x, kernel, bias, feature_group_count=groups)


def _check_pointwise(
    x: AnyArray, kernel: AnyArray, bias: AnyArray | None, groups: int
) -> None:
    check_images(x)
    shapes = f"images {x.shape} and kernel {kernel.shape}"
    check(kernel.ndim == 2, f"the kernel must be [c, m]: {shapes}")
    check(
        x.shape[3] == groups * kernel.shape[0] and kernel.shape[1] % groups == 0,
        f"channels do not fit {groups} groups: {shapes}",
    )
    check_bias(bias, kernel.shape[1], shapes)


@named
def _pointwise_conv2d(x, kernel, bias, *, feature_group_count):
    return _convolve(
        x,
        kernel[None, None],
        bias,
        strides=(1, 1),
        padding=((0, 0), (0, 0)),
        dilation=(1, 1),
        feature_group_count=feature_group_count,
    )


def depthwise_separable_conv2d(
    x: AnyArray,
    depthwise_kernel: AnyArray,
    pointwise_kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
) -> Images:
    """A depthwise convolution, then a pointwise one: `KKC + CM` instead of `KKCM`.

    Args:
      x: images [n, h, w, c].
      depthwise_kernel: [kh, kw, 1, c].
      pointwise_kernel: [c, m].
      bias: [m].
      strides, padding, dilation: of the depthwise convolution, as in `conv2d`.

    Returns:
      [n, h2, w2, m].

    Raises:
      ValueError: if the shapes do not fit each other.

    Source: Howard et al., 2017, https://arxiv.org/abs/1704.04861.
    """
    check_images(x)
    geometry = _geometry(
        x, depthwise_kernel, None, strides, padding, dilation, x.shape[3]
    )
    shapes = (
        f"images {x.shape}, depthwise_kernel {depthwise_kernel.shape} and "
        f"pointwise_kernel {pointwise_kernel.shape}"
    )
    check(
        pointwise_kernel.ndim == 2
        and pointwise_kernel.shape[0] == depthwise_kernel.shape[3],
        f"the pointwise_kernel must be [{depthwise_kernel.shape[3]}, m]: {shapes}",
    )
    check_bias(bias, pointwise_kernel.shape[1], shapes)
    return _depthwise_separable_conv2d(
        x, depthwise_kernel, pointwise_kernel, bias, **geometry
    )


@named
def _depthwise_separable_conv2d(x, depthwise_kernel, pointwise_kernel, bias, **static):
    x = _convolve(x, depthwise_kernel, None, **static)
    return _pointwise_conv2d(x, pointwise_kernel, bias, feature_group_count=1)


def conv_transpose2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: Ints = (1, 1),
    padding: Padding | str = ((0, 0), (0, 0)),
    output_padding: Ints = (0, 0),
    dilation: Ints = (1, 1),
    feature_group_count: int = 1,
) -> Images:
    """Transposed convolution: every input pixel adds a scaled kernel to the output.

    `y[S i + D a - P, S j + D b - P, m] += x[i, j, c] k[a, b, c, m]`

    It is the gradient of a convolution; the kernel is not flipped: tap (0, 0) goes to
    the top left.

    >>> x = jnp.array([[1.0, 2]])[None, ..., None]
    >>> kernel = jnp.array([[1.0, 10]])[..., None, None]
    >>> conv_transpose2d(x, kernel, strides=(1, 2))[0, ..., 0].astype(int).tolist()
    [[1, 10, 2, 20]]

    Args:
      x: images [n, h, w, c].
      kernel: [kh, kw, c, m / feature_group_count].
      bias: [m].
      strides: S, distance of the pixels' kernels in the output.
      padding: P, rows and columns that are cut off the output, as in PyTorch; or
        TensorFlow's "SAME" (the output is S times the input) or "VALID" (nothing cut).
      output_padding: rows and columns that the output has more at its end.
      dilation: D, distance of the kernel's taps.
      feature_group_count: groups of channels that do not see each other.

    Returns:
      [n, h2, w2, m] with `h2 = S (h - 1) - 2P + D (kh - 1) + 1 + output_padding`.

    Raises:
      ValueError: if the shapes do not fit each other.

    Source: Dumoulin and Visin, 2016, https://arxiv.org/abs/1603.07285, chapter 4.
    """
    check_images(x)
    shapes = f"images {x.shape} and kernel {kernel.shape}"
    check(kernel.ndim == 4, f"the kernel must be [kh, kw, c, m]: {shapes}")
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    check(min(kernel.shape[:2]) > 0, f"the kernel must have taps: {shapes}")
    groups = integer(feature_group_count, "feature_group_count")
    check(
        kernel.shape[2] == x.shape[3] and kernel.shape[2] % groups == 0,
        f"channels do not fit {groups} groups: {shapes}",
    )
    check_bias(bias, groups * kernel.shape[3], shapes)
    far = reach(kernel, dilation)
    if isinstance(padding, str):
        check(padding in ("SAME", "VALID"), f"padding {padding!r}: not SAME or VALID")
        crops = tuple(
            (max(r + 1 - s, 0) // 2, r + 1 - s - max(r + 1 - s, 0) // 2)
            if padding == "SAME"
            else (0, min(0, r + 1 - s))
            for r, s in zip(far, strides, strict=True)
        )
    else:
        crops = paddings(padding)
    more = pair(output_padding, "output_padding", 0)
    check(
        all(m < max(s, d) for m, s, d in zip(more, strides, dilation, strict=True)),
        f"output_padding {more} must be less than the strides {strides} or the "
        f"dilation {dilation}: {shapes}",
    )
    size = tuple(
        s * (n - 1) - sum(crop) + r + 1 + m
        for s, n, crop, r, m in zip(
            strides, x.shape[1:3], crops, far, more, strict=True
        )
    )
    check(min(size) > 0, f"padding {crops} leaves an output of {size} pixels: {shapes}")
    return _conv_transpose2d(
        x,
        kernel,
        bias,
        strides=strides,
        padding=crops,
        output_padding=more,
        dilation=dilation,
        feature_group_count=groups,
    )


@named
def _conv_transpose2d(
    x, kernel, bias, *, strides, padding, output_padding, dilation, feature_group_count
):
    # The same sum seen from the output: a convolution with the kernel turned around.
    rows, columns, _, features = kernel.shape
    groups = feature_group_count
    turned = kernel[::-1, ::-1].reshape(rows, columns, groups, -1, features)
    turned = turned.swapaxes(2, 3).reshape(rows, columns, -1, groups * features)
    y = conv_general_dilated(
        x,
        turned,
        (1, 1),
        tuple(
            (r - low, r - high + extra)
            for r, (low, high), extra in zip(
                reach(kernel, dilation), padding, output_padding, strict=True
            )
        ),
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=DIMENSION_NUMBERS,
        feature_group_count=groups,
    )
    return _add_bias(y, bias)
