"""Which pixels of an image's axis each position of an array's axis depends on."""

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction


@dataclasses.dataclass(frozen=True)
class Span:
    """The pixels that positions depend on, with a period: exact for any strides.

    Position `q P + r` depends on pixels `low[r] + q step` to `high[r] + q step`, where
    P, the period, is the length of `low`. Where it depends on none, low is above high.

    Attributes:
      axis: of the array, along which the positions lie; None if every number depends on
        the same pixels.
      low, high: the first and the last pixel of each position of a period; infinite if
        it depends on all of them.
      step: how many pixels a period is long.
    """

    axis: int | None
    low: tuple[float, ...]
    high: tuple[float, ...]
    step: int

    def moved(self, axis: int | None) -> "Span":
        """Returns the same along another axis."""
        return dataclasses.replace(self, axis=axis)

    def read(self, start: int, stride: int = 1, dilation: int = 1) -> "Span":
        """Returns the pixels of an array whose position i is the read one's position
        `(start + stride i) / dilation`, and nothing where that is no integer.
        """
        period = len(self.low)
        new = period * dilation // math.gcd(period * dilation, stride)
        low, high = [], []
        for i in range(new):
            position, between = divmod(start + stride * i, dilation)
            turns, r = divmod(position, period)
            low.append(math.inf if between else self.low[r] + turns * self.step)
            high.append(-math.inf if between else self.high[r] + turns * self.step)
        step = self.step * stride * new // (period * dilation)
        return Span(self.axis, tuple(low), tuple(high), step)

    @property
    def size(self) -> float:
        """The most pixels from the first to the last that a position depends on."""
        sizes = (b - a + 1 for a, b in zip(self.low, self.high, strict=True))
        return max(0.0, *sizes)

    @property
    def stride(self) -> Fraction:
        """Pixels from one position to the next, on average."""
        return Fraction(self.step, len(self.low))


def pixels(axis: int) -> Span:
    """Returns the span of the image itself."""
    return Span(axis, (0.0,), (0.0,), 1)


# Of arrays that depend on the whole axis and no longer have it.
WHOLE = Span(None, (-math.inf,), (math.inf,), 0)


def union(spans: Sequence[Span]) -> Span:
    """Returns the span of positions that depend on what all of these depend on."""
    placed = [span for span in spans if span.axis is not None]
    if len({(span.axis, span.stride) for span in placed}) != 1:
        return WHOLE
    period = math.lcm(*(len(span.low) for span in placed))
    if len(placed) < len(spans):  # Unbounded, but still along that axis.
        low, high = (-math.inf,) * period, (math.inf,) * period
    else:
        turned = [_repeated(span, period) for span in placed]
        low = tuple(map(min, zip(*(span.low for span in turned), strict=True)))
        high = tuple(map(max, zip(*(span.high for span in turned), strict=True)))
    stride = placed[0].stride
    return Span(placed[0].axis, low, high, int(stride * period))


def _repeated(span: Span, period: int) -> Span:
    """Writes a span with a period that is a multiple of its own."""
    low, high = [], []
    for i in range(period):
        turns, r = divmod(i, len(span.low))
        low.append(span.low[r] + turns * span.step)
        high.append(span.high[r] + turns * span.step)
    times = period // len(span.low)
    return Span(span.axis, tuple(low), tuple(high), span.step * times)


def window(
    span: Span,
    size: int,
    stride: int,
    padding: int,
    base_dilation: int = 1,
    window_dilation: int = 1,
) -> Span:
    """Returns the span of the outputs of a sliding window, as of a convolution.

    Args:
      span: of what the window slides over.
      size: positions in a window.
      stride: from one window to the next.
      padding: positions before the first.
      base_dilation: distance of the inputs, as in a transposed convolution.
      window_dilation: distance of the positions in a window.
    """
    return union(
        [
            span.read(tap * window_dilation - padding, stride, base_dilation)
            for tap in range(size)
        ]
    )
