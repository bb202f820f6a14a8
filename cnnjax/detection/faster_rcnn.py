"""Faster R-CNN on a feature pyramid: regions are proposed, then looked at closely.

Deviations from the paper, those of Lin et al., 2016, https://arxiv.org/abs/1612.03144,
and of torchvision: regions are pooled from the map that fits their size, by RoIAlign,
and two dense layers look at them.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.detection._detector import SMALL, Objects, Output, PyramidDetector
from cnnjax.detection._outputs import Selection
from cnnjax.detection._roi_heads import Looked, RegionDetector, as_rois
from cnnjax.detection._rpn import RegionProposals
from cnnjax.models import Endpoints, Layers, ModuleDef, Paper, resnet


STRIDES = (4, 8, 16, 32)


class BoxHead(nn.Module):
    """Two dense layers on what a region sees.

    Attributes:
      features: of both.
      dense: their constructor.

    Source: Lin et al., 2016, https://arxiv.org/abs/1612.03144, section 4.2.
    """

    features: int
    dense: ModuleDef

    @nn.compact
    def __call__(self, pooled: Float[Array, "k h w c"]) -> Float[Array, "k features"]:
        # The reference's order.
        x = pooled.transpose(0, 3, 1, 2).reshape(len(pooled), -1)
        x = nn.relu(self.dense(self.features, name="fc6")(x))
        return nn.relu(self.dense(self.features, name="fc7")(x))


class FasterRCNN(RegionDetector, PyramidDetector, kw_only=True):
    """Faster R-CNN detector.

    Attributes:
      anchor_sizes: of each map, from stride 4 on, and of a last one that is subsampled.
    """

    image_size: int = 800
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512)

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "n h w c"],
        objects: Objects | None = None,
        sizes: Array | None = None,
        *,
        proposals: Float[Array, "n k 4"] | None = None,
        train: bool = False,
    ) -> Output:
        """Endpoints: feature_0 (stride 4) to feature_3 (32), feature_pool (64).

        Of each of these maps rpn_objectness_i, rpn_deltas_i, anchors_i; the regions
        that were looked at, rois [n k, 5], and theirs: roi_pooled [n k, 7, 7, c],
        box_scores [n k, num_classes], box_deltas [n k, 4 num_classes].

        Losses: rpn_objectness, rpn_boxes, classification, boxes.

        Args:
          image, objects, sizes, train: as in every detector. Where objects are told,
            chance decides which regions are learnt from: by the stream `dropout`, if
            there is one.
          proposals: boxes to be looked at instead of those that are proposed.
        """
        layers = self.layers(train, SMALL, SMALL, use_bias=True)
        maps, out = self.pyramid(image, train, STRIDES)
        out |= {f"feature_{k}": x for k, x in enumerate(maps)}
        last = out["feature_pool"] = ops.max_pool2d(maps[-1], 1, 2)
        rpn = RegionProposals(
            layers.conv,
            [(size,) for size in self.anchor_sizes],
            self.selection.candidates,
            name="rpn",
        )
        box_head = BoxHead(4 * self.features, layers.dense, name="box_head")

        def look(regions: Array) -> tuple[Array, Array, Endpoints]:
            pooled = self.pool(maps, regions, 7)
            x = box_head(pooled)
            scores = layers.dense(self.classes, name="head")(x)
            deltas = layers.dense(4 * self.classes, name="deltas")(x)
            stages = ("roi_pooled", "box_scores", "box_deltas")
            of_regions = zip(stages, (pooled, scores, deltas), strict=True)
            return scores, deltas, dict(of_regions)

        looked, of_regions = self.look_twice(
            image,
            objects,
            sizes,
            proposals,
            functools.partial(rpn, image, [*maps, last]),
            look,
        )
        output, more = self.look_further(maps, looked, objects, layers)
        return output, out | of_regions | more

    def look_further(
        self,
        maps: Sequence[Array],
        looked: Looked,
        objects: Objects | None,
        layers: Layers,
    ) -> Output:
        """Returns what becomes of the output by further heads, and their endpoints."""
        del maps, objects, layers
        return looked.output, {}

    def pool(
        self, maps: Sequence[Array], boxes_xyxy: Float[Array, "n k 4"], size: int
    ) -> Float[Array, "nk s s c"]:
        """Returns what regions see, each of the map that fits its size (eq. 1)."""
        scales = [1 / stride for stride in STRIDES]

        def of_image(maps: Sequence[Array], boxes: Array) -> Array:
            octave = jnp.log2(jnp.sqrt(ops.box_area(boxes)) / 224)
            levels = jnp.clip(jnp.floor(octave + 4 + 1e-6), 2, 5).astype(jnp.int32) - 2
            maps, rois = [x[None] for x in maps], as_rois(boxes[None])
            return ops.pyramid_roi_align(maps, rois, levels, size, scales, 2, False)

        pooled = jax.vmap(of_image)(maps, boxes_xyxy)
        return pooled.reshape(-1, *pooled.shape[2:])


PAPERS = {"*": Paper("Ren et al.", 2015, "https://arxiv.org/abs/1506.01497")}

VARIANTS = {
    f"fasterrcnn_{name}_fpn": functools.partial(
        FasterRCNN, classifier=resnet.VARIANTS[name]
    )
    for name in ("resnet18", "resnet50", "resnet101")
}
# For images of 64 pixels, as the scenes of digits are.
VARIANTS["fasterrcnn_resnet18_fpn_small"] = functools.partial(
    VARIANTS["fasterrcnn_resnet18_fpn"],
    image_size=64,
    features=64,
    anchor_sizes=(8, 16, 32, 64, 128),
    samples=32,
    selection=Selection(candidates=64),
)
