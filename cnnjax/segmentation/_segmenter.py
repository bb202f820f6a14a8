"""What segmentation networks share: a classifier's maps below them, the head."""

from collections.abc import Sequence
from typing import Any, Literal

from jaxtyping import Array

from cnnjax import ops
from cnnjax.models import (
    Activation,
    BackboneNetwork,
    Endpoints,
    ModuleDef,
    Network,
)


class Segmenter(Network):
    """A classifier of pixels: a network that returns maps of logits, and endpoints.

    `model.apply(variables, image, train=False)` takes normalised images, NHWC, as a
    classifier does. It returns the logits [n, h, w, num_classes] at the images' size,
    or the maps before them where num_classes is None; and the endpoints by name: those
    of the classifier below, if there is one, `pre_logits` and `logits`.

    Attributes:
      num_classes: logits of a pixel (default: the 20 classes of PASCAL VOC, and the
        background); None leaves the head out.
    """

    num_classes: int | None = 21

    @property
    def stride(self) -> int:
        """Pixels from one place to the next of its coarsest map.

        Networks are equivariant to shifts by its multiples, and some take no images
        but those whose sides are multiples of it. It is 1 where nothing subsamples.
        """
        return 1

    @property
    def margin(self) -> int:
        """Pixels by which the logits are smaller than the image, on each side."""
        return 0

    def classify_pixels(
        self,
        x: Array,
        endpoints: Endpoints,
        head: ModuleDef,
        dropout: Activation = lambda x: x,
        size: Sequence[int] | None = None,
    ) -> tuple[Array, Endpoints]:
        """Ends a network: notes maps as `pre_logits`, and as `logits` their scores.

        Args:
          x: maps [n, h, w, c].
          endpoints: what the network has noted so far.
          head: constructor of the last layer, a convolution.
          dropout: applied before it.
          size: rows and columns that the scores are resized to, if they are.

        Returns:
          The logits [n, *size, num_classes] (x where num_classes is None) and the
          endpoints.
        """
        endpoints = {**endpoints, "pre_logits": x}
        if self.num_classes is None:
            return x, endpoints
        x = head(self.num_classes, use_bias=True, name="head")(dropout(x))
        if size is not None and tuple(size) != x.shape[1:3]:
            x = ops.resize_bilinear(x, size)
        endpoints["logits"] = x
        return x, endpoints


class BackboneSegmenter(BackboneNetwork, Segmenter, kw_only=True):
    """A segmentation network on the endpoints of a classifier."""

    num_classes: int | None = 21  # Not the 1000 of other networks on classifiers.


class DilatedSegmenter(BackboneSegmenter, kw_only=True):
    """A segmentation network on a classifier that dilates instead of subsampling.

    Attributes:
      output_stride: of the classifier's last stage; 8 and 16 need a ResNet (or another
        with such an option).
    """

    output_stride: Literal[8, 16, 32] = 8

    def classifier_options(self) -> dict[str, Any]:
        """Returns those options that are not what every classifier does anyway."""
        stride = self.output_stride
        options = {} if stride == 32 else {"output_stride": stride}
        return super().classifier_options() | options


def check_sides(image: Array, stride: int, first: int) -> None:
    """Raises a ValueError that names near sizes which a network takes.

    Args:
      image: [n, h, w, c].
      stride: by which sizes may differ.
      first: the smallest of them.
    """
    sides = image.shape[1:3]
    if all(side >= first and (side - first) % stride == 0 for side in sides):
        return
    fits = []
    for side in sides:
        below = max(first, side - (side - first) % stride)
        fits.append(str(below) if below >= side else f"{below} or {below + stride}")
    raise ValueError(
        f"the network does not take images of {_sides(sides)} pixels; near these are "
        f"{fits[0]} rows and {fits[1]} columns ({first} and multiples of {stride} more)"
    )


def _sides(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
