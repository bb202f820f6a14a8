"""What segmentation networks share: a classifier's maps below them, the head."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from cnnjax import ops
from cnnjax.errors import UserError
from cnnjax.models import Activation, Classifier, Endpoints, ModuleDef, Network


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


class BackboneSegmenter(Segmenter, kw_only=True):
    """A segmentation network on the endpoints of a classifier, its backbone.

    Attributes:
      classifier: its constructor, e.g. `functools.partial(cnnjax.create, "resnet50")`.
        What it computes after its last map is of no use here; parameters that it has
        there would never be trained.
      deformable_blocks: how many of its last blocks have deformable 3x3 convolutions;
        they need a ResNet.
    """

    classifier: Callable[..., Classifier]
    deformable_blocks: int = 0

    def classifier_options(self) -> dict[str, Any]:
        """Returns those options that are not what every classifier does anyway."""
        blocks = self.deformable_blocks
        return {"deformable_blocks": blocks} if blocks else {}

    @property
    def stride(self) -> int:
        """Pixels from one place to the next of its coarsest map."""

        def maps(image):
            backbone = self._backbone(parent=None)
            (_, endpoints), _ = backbone.init_with_output(jax.random.key(0), image)
            return last_maps(image, endpoints)

        shape = (1, self.image_size, self.image_size, 3)
        return max(jax.eval_shape(maps, jax.ShapeDtypeStruct(shape, jnp.float32)))

    def run_backbone(
        self, image: Array, train: bool
    ) -> tuple[dict[int, Array], Endpoints]:
        """Runs the classifier without its head.

        Args:
          image: [n, h, w, c].
          train: as in the call.

        Returns:
          Its last map at each stride, the finest first; and its endpoints.

        Raises:
          ValueError: if it has no maps, or the image is so small that several have only
            one pixel.
          UserError: if it lacks one of the options.
        """
        _, endpoints = self._backbone(name="backbone")(image, train=train)
        return last_maps(image, endpoints), endpoints

    def _backbone(self, **scope: Any) -> Classifier:
        options, plain = self.classifier_options(), self.classifier(parent=None)
        for name in options:
            if not hasattr(plain, name):
                raise UserError(f"a {type(plain).__name__} has no {name}")
        return self.classifier(
            num_classes=None,
            axis_name=self.axis_name,
            conv_general_dilated=self.conv_general_dilated,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            **options,
            **scope,
        )


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


def last_maps(image: Any, endpoints: Endpoints) -> dict[int, Array]:
    """Returns the last map of a network at each stride, the finest first.

    Strides are powers of 2, and follow from the sizes.

    Args:
      image: [n, h, w, c].
      endpoints: of the network, in the order in which it has computed them.

    Raises:
      ValueError: if there are no maps, or the image is so small that several have only
        one pixel.
    """
    stride, side, maps = 1, max(image.shape[1:3]), {}
    for x in endpoints.values():
        if x.ndim != 4:
            continue
        old, side = side, max(x.shape[1:3])
        if side < old:  # Networks round the sizes of maps up or down.
            stride *= 2 ** max(1, round(math.log2(old / (side + 0.5))))
        elif side == 1 and stride in maps:
            raise ValueError(
                f"images of {_sides(image.shape[1:3])} pixels are too small for the "
                "network: several of its maps have one pixel only"
            )
        maps[stride] = x
    if not maps:
        raise ValueError(f"the classifier has no maps, only {', '.join(endpoints)}")
    return maps


def map_at(maps: dict[int, Array], stride: int) -> Array:
    """Returns one of `last_maps`.

    Raises:
      ValueError: if there is none of that stride.
    """
    if stride not in maps:
        raise ValueError(
            f"the classifier has maps of strides {', '.join(map(str, maps))}, but none "
            f"of stride {stride}"
        )
    return maps[stride]


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
