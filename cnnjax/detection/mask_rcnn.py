"""Mask R-CNN: Faster R-CNN with a head that draws the object of each box.

Deviation: the object of a region to learn from is cut out of its mask by RoIAlign, with
two samples along each side of a bin, and need not be 0 or 1 there.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.detection._detector import Objects, Output, full_precision, mean_over
from cnnjax.detection._roi_heads import SHARE, Looked, as_rois
from cnnjax.detection.faster_rcnn import VARIANTS as FASTER_RCNNS
from cnnjax.detection.faster_rcnn import FasterRCNN
from cnnjax.models import Layers, ModuleDef, Paper
from cnnjax.nn import ConvTranspose


class MaskHead(nn.Module):
    """Four 3x3 convolutions, one that doubles the size, and a mask for each class.

    Attributes:
      classes: masks of a region.
      conv: constructor of the convolutions.
      conv_transpose: constructor of the transposed one.

    Source: He et al., 2017, https://arxiv.org/abs/1703.06870, Fig. 4, right.
    """

    classes: int
    conv: ModuleDef
    conv_transpose: ModuleDef

    @nn.compact
    def __call__(self, x: Float[Array, "k h w c"]) -> Float[Array, "k h2 w2 classes"]:
        features = x.shape[-1]
        for k in range(4):
            x = nn.relu(self.conv(features, 3, name=f"Conv_{k}")(x))
        x = nn.relu(self.conv_transpose(features, (2, 2), (2, 2), name="up")(x))
        return self.conv(self.classes, name="logits")(x)


class MaskRCNN(FasterRCNN, kw_only=True):
    """Mask R-CNN detector.

    To learn, it needs the objects' "masks" too: truth values [n, m, h, w]. One more of
    its losses is `masks`, of its endpoints mask_logits [n k, 28, 28, num_classes].
    """

    def look_further(
        self,
        maps: Sequence[Array],
        looked: Looked,
        objects: Objects | None,
        layers: Layers,
    ) -> Output:
        """Draws the detections; or learns from the regions that have objects."""
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        up = functools.partial(ConvTranspose, **types)
        head = MaskHead(self.classes, layers.conv, up, name="mask_head")
        if objects is None:
            found = looked.output
            logits = full_precision(head(self.pool(maps, found.boxes_xyxy, 14)))
            masks = nn.sigmoid(_of_class(logits, found.labels.reshape(-1)))
            masks = masks.reshape(*found.labels.shape, *masks.shape[1:])
            return found.replace(masks=masks), {"mask_logits": logits}
        # Regions with objects are the first ones.
        count = max(1, int(SHARE * looked.matched.shape[1]))
        regions, matched = looked.regions[:, :count], looked.matched[:, :count]
        logits = full_precision(head(self.pool(maps, regions, 14)))
        labels = jnp.take_along_axis(objects["labels"], matched, axis=1)
        wanted = _cut_out(objects["masks"], regions, matched, logits.shape[1])
        missed = optax.sigmoid_binary_cross_entropy(
            _of_class(logits, labels.reshape(-1)), wanted
        )
        missed = missed.mean((1, 2)).reshape(matched.shape)
        found = matched >= 0
        losses = jax.vmap(mean_over)(missed, found, found.sum(1))
        return looked.output | {"masks": losses}, {"mask_logits": logits}


def _of_class(logits: Array, labels: Array) -> Array:
    """Returns maps [k, h, w] of [k, h, w, classes], each that of its class."""
    return jnp.take_along_axis(logits, labels[:, None, None, None], axis=3)[..., 0]


def _cut_out(masks: Array, regions: Array, matched: Array, size: int) -> Array:
    """Returns what regions [n, k, 4] show of objects' masks: [n k, size, size]."""
    number, objects, height, width = masks.shape
    which = jnp.arange(number)[:, None] * objects + jnp.maximum(matched, 0)
    rois = as_rois(regions).at[:, 0].set(which.reshape(-1).astype(regions.dtype))
    images = masks.reshape(-1, height, width, 1).astype(regions.dtype)
    return ops.roi_align(images, rois, size, 1.0, 2, False)[..., 0]


PAPERS = {"*": Paper("He et al.", 2017, "https://arxiv.org/abs/1703.06870")}

VARIANTS = {
    name.replace("faster", "mask"): functools.partial(MaskRCNN, **variant.keywords)
    for name, variant in FASTER_RCNNS.items()
}
