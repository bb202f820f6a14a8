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
from jaxtyping import Array, Float, Int

from cnnjax import ops
from cnnjax.detection._detector import (
    SMALL,
    Losses,
    Objects,
    Output,
    PyramidDetector,
    sizes_of,
)
from cnnjax.detection._outputs import Detections, Selection
from cnnjax.detection._roi_heads import (
    BoxHead,
    as_rois,
    detect_in_regions,
    region_losses,
    sample_regions,
)
from cnnjax.detection._rpn import RegionProposals
from cnnjax.models import Paper, resnet


STRIDES = (4, 8, 16, 32)


class FasterRCNN(PyramidDetector, kw_only=True):
    """Faster R-CNN detector.

    Attributes:
      anchor_sizes: of each map, from stride 4 on, and of a last one that is subsampled.
      samples: regions of an image that are learnt from.
      selection: so many candidates are looked at on each map, and proposed in all.
    """

    image_size: int = 800
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512)
    samples: int = 512

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

        Of each of these maps rpn_objectness_i and rpn_deltas_i; the regions that were
        looked at, rois [n k, 5], and theirs: roi_pooled [n k, 7, 7, c], box_scores
        [n k, num_classes], box_deltas [n k, 4 num_classes].

        Losses: rpn_objectness, rpn_boxes, classification, boxes.

        Args:
          image, objects, sizes, train: as in every detector. Where objects are told,
            chance decides which regions are learnt from: by the stream `dropout`, if
            there is one.
          proposals: boxes to be looked at instead of those that are proposed.
        """
        layers = self.layers(train, SMALL, SMALL, use_bias=True)
        sizes = sizes_of(image, sizes)
        maps, out = self.pyramid(image, train, STRIDES)
        out |= {f"feature_{k}": x for k, x in enumerate(maps)}
        last = out["feature_pool"] = ops.max_pool2d(maps[-1], 1, 2)
        regions, valid, losses, of_rpn = RegionProposals(
            layers.conv,
            [(size,) for size in self.anchor_sizes],
            self.selection.candidates,
            name="rpn",
        )(image, [*maps, last], sizes, objects, self.chance())
        out |= of_rpn
        if proposals is not None:
            regions, valid = proposals, jnp.ones(proposals.shape[:2], bool)
        matched = jnp.zeros(valid.shape, jnp.int32)
        if objects is not None:
            regions, matched, valid = sample_regions(
                self.chance(), regions, valid, objects, self.samples
            )
        out["rois"] = as_rois(regions)
        x = out["roi_pooled"] = self.pool(maps, regions, 7)
        x = BoxHead(4 * self.features, layers.dense, name="box_head")(x)
        out["box_scores"] = layers.dense(self.classes, name="head")(x)
        out["box_deltas"] = layers.dense(4 * self.classes, name="deltas")(x)
        scores = out["box_scores"].reshape(*valid.shape, -1)
        deltas = out["box_deltas"].reshape(*valid.shape, -1, 4)
        if objects is not None:
            losses |= jax.vmap(region_losses)(
                regions, matched, valid, scores, deltas, objects
            )
            return losses | self.learn_more(maps, regions, matched, objects), out
        detections = detect_in_regions(
            regions, valid, scores, deltas, sizes, self.selection
        )
        return self.find_more(maps, detections), out

    def pool(
        self, maps: Sequence[Array], boxes_xyxy: Float[Array, "n k 4"], size: int
    ) -> Float[Array, "nk s s c"]:
        """Returns what regions see, each of the map that fits its size (eq. 1)."""
        area = ops.box_area(boxes_xyxy).reshape(-1)
        octave = jnp.log2(jnp.sqrt(area) / 224)
        levels = jnp.clip(jnp.floor(octave + 4 + 1e-6), 2, 5).astype(jnp.int32) - 2
        scales = [1 / stride for stride in STRIDES]
        rois = as_rois(boxes_xyxy)
        return ops.pyramid_roi_align(maps, rois, levels, size, scales, 2, False)

    def learn_more(
        self,
        maps: Sequence[Array],
        regions: Float[Array, "n k 4"],
        matched: Int[Array, "n k"],
        objects: Objects,
    ) -> Losses:
        """Returns the losses of further heads: none here."""
        del maps, regions, matched, objects
        return {}

    def find_more(self, maps: Sequence[Array], detections: Detections) -> Detections:
        """Returns the detections with what further heads say of them: nothing here."""
        del maps
        return detections


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
