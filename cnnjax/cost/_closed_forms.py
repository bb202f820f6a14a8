"""The formulas of textbooks: cost of single layers as functions of integers.

Everywhere B is the batch size, C the channels in, M the channels out, K the kernel size
(rows and columns), H and W the rows and columns of the input, E and F those of the
output, G the groups. MACs are "published" ones: taps on padding count.
"""


def output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Returns `floor((size + 2 P - D (K - 1) - 1) / S) + 1`, along one axis."""
    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def transposed_output_size(
    size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> int:
    """Returns `(size - 1) S - 2 P + D (K - 1) + output_padding + 1`, along one axis."""
    reach = dilation * (kernel_size - 1)
    return (size - 1) * stride - 2 * padding + reach + output_padding + 1


def conv_macs(b: int, c: int, m: int, k: int, e: int, f: int, g: int = 1) -> int:
    """Returns the MACs of a convolution, `B M K K C E F / G`."""
    return b * m * k * k * (c // g) * e * f


def conv_storage_bits(
    b: int,
    c: int,
    m: int,
    k: int,
    h: int,
    w: int,
    e: int,
    f: int,
    g: int = 1,
    bits: int = 32,
) -> int:
    """Returns `bits (M C K K / G + B C H W + B M E F)`: kernel, input, output."""
    return bits * (m * (c // g) * k * k + b * c * h * w + b * m * e * f)


def depthwise_separable_macs(b: int, c: int, m: int, k: int, e: int, f: int) -> int:
    """Returns the MACs of both convolutions, `B (K K C E F + M C E F)`."""
    return b * (k * k * c * e * f + m * c * e * f)


def depthwise_separable_storage_bits(
    b: int,
    c: int,
    m: int,
    k: int,
    h: int,
    w: int,
    e: int,
    f: int,
    bits: int = 32,
) -> int:
    """Returns `bits (B C H W + C K K + B C E F + M C + B M E F)`.

    The image between the two convolutions counts once.
    """
    return bits * (b * c * h * w + c * k * k + b * c * e * f + m * c + b * m * e * f)


def transposed_conv_macs(
    b: int, c: int, m: int, k: int, h: int, w: int, g: int = 1
) -> int:
    """Returns the MACs of a transposed convolution, `B M K K C H W / G`, per input."""
    return b * m * k * k * (c // g) * h * w


def deform_conv_macs(
    b: int, c: int, m: int, k: int, e: int, f: int, g: int = 1
) -> tuple[int, int]:
    """Returns the MACs of a deformable convolution and of its interpolation.

    The convolution has `B M K K C E F / G`; sampling each of its `B C K K E F` inputs
    weighs four pixels. The convolution that predicts the offsets is not included.
    """
    return conv_macs(b, c, m, k, e, f, g), 4 * b * c * k * k * e * f


def shift_storage_bits(b: int, c: int, h: int, w: int, bits: int = 32) -> int:
    """Returns `bits 2 B C H W`; a shift has no parameters and no MACs."""
    return bits * 2 * b * c * h * w


def dense_macs(b: int, c: int, m: int) -> int:
    """Returns the MACs of a fully connected layer, `B M C`."""
    return b * m * c


def dense_storage_bits(b: int, c: int, m: int, bits: int = 32) -> int:
    """Returns `bits (M C + B C + B M)`: kernel, input, output."""
    return bits * (m * c + b * c + b * m)
