"""Networks on top of a classifier, their backbone: its last map at each stride."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.errors import UserError
from cnnjax.models._classifier import Classifier, Endpoints, Network


class BackboneNetwork(Network, kw_only=True):
    """A network on the endpoints of a classifier, its backbone.

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
                f"images of {image.shape[1]}x{image.shape[2]} pixels are too small for "
                "the network: several of its maps have one pixel only"
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
