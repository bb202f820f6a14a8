"""Two-dimensional convolutions by their usual names, as the one in `_conv`."""

from collections.abc import Sequence

from jaxtyping import Array, Shaped

from cnnjax.ops._check import Padding, check, check_images, check_kernel, paddings, pair
from cnnjax.ops._conv import conv_general_dilated
from cnnjax.ops._spec import DIMENSION_NUMBERS, AnyArray


Images = Shaped[Array, "n h2 w2 m"]


def conv2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
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
    shapes = f"images {x.shape} and kernel {kernel.shape}"
    check_kernel(x, kernel, feature_group_count, shapes)
    strides, dilation = pair(strides, "strides"), pair(dilation, "dilation")
    sides = paddings(padding)
    check(
        all(
            size + sum(side) >= reach * (taps - 1) + 1
            for size, side, reach, taps in zip(
                x.shape[1:3], sides, dilation, kernel.shape[:2], strict=True
            )
        ),
        f"the kernel does not fit into the padded images: {shapes}, padding {sides}, "
        f"dilation {dilation}",
    )
    y = conv_general_dilated(
        x,
        kernel,
        strides,
        sides,
        rhs_dilation=dilation,
        dimension_numbers=DIMENSION_NUMBERS,
        feature_group_count=feature_group_count,
    )
    return _add_bias(y, bias)


def _add_bias(y: Array, bias: AnyArray | None) -> Array:
    if bias is None:
        return y
    check(
        bias.shape == y.shape[3:], f"bias {bias.shape} for {y.shape[3]} output channels"
    )
    return y + bias[None, None, None]


def depthwise_conv2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
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
    return conv2d(x, kernel, bias, strides, padding, dilation, x.shape[3])


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
    check(kernel.ndim == 2, f"the kernel must be [c, m], not of shape {kernel.shape}")
    return conv2d(x, kernel[None, None], bias, feature_group_count=feature_group_count)


def depthwise_separable_conv2d(
    x: AnyArray,
    depthwise_kernel: AnyArray,
    pointwise_kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
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
    x = depthwise_conv2d(x, depthwise_kernel, None, strides, padding, dilation)
    return pointwise_conv2d(x, pointwise_kernel, bias)


def conv_transpose2d(
    x: AnyArray,
    kernel: AnyArray,
    bias: AnyArray | None = None,
    strides: int | Sequence[int] = (1, 1),
    padding: Padding | str = ((0, 0), (0, 0)),
    output_padding: int | Sequence[int] = (0, 0),
    dilation: int | Sequence[int] = (1, 1),
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
    rows, columns, channels, features = kernel.shape
    reach = tuple(d * (k - 1) for d, k in zip(dilation, (rows, columns), strict=True))
    if isinstance(padding, str):
        check(padding in ("SAME", "VALID"), f"padding {padding!r}: not SAME or VALID")
        crops = tuple(
            (max(r + 1 - s, 0) // 2, r + 1 - s - max(r + 1 - s, 0) // 2)
            if padding == "SAME"
            else (0, min(0, r + 1 - s))
            for r, s in zip(reach, strides, strict=True)
        )
    else:
        crops = paddings(padding)
    more = pair(output_padding, "output_padding", 0)
    groups = feature_group_count
    check(
        groups > 0 and channels == x.shape[3] and channels % groups == 0,
        f"channels do not fit {groups} groups: {shapes}",
    )
    # The same sum seen from the output: a convolution with the kernel turned around.
    turned = kernel[::-1, ::-1].reshape(rows, columns, groups, -1, features)
    turned = turned.swapaxes(2, 3).reshape(rows, columns, -1, groups * features)
    y = conv_general_dilated(
        x,
        turned,
        (1, 1),
        tuple(
            (r - low, r - high + extra)
            for r, (low, high), extra in zip(reach, crops, more, strict=True)
        ),
        lhs_dilation=strides,
        rhs_dilation=dilation,
        dimension_numbers=DIMENSION_NUMBERS,
        feature_group_count=groups,
    )
    return _add_bias(y, bias)
