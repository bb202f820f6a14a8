"""R-FCN: all convolutions see the whole image, regions only take votes from maps.

Deviations: proposals come from the last map, too, so that any classifier will do; all
sampled regions are learnt from, not only the hardest. What deforms it is that of Dai et
al., 2017, https://arxiv.org/abs/1703.06211; there, bins are moved for each class on its
own, here for all of them alike.
"""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.detection._detector import SMALL, Objects, Output
from cnnjax.detection._outputs import Selection
from cnnjax.detection._roi_heads import RegionDetector, as_rois
from cnnjax.detection._rpn import RegionProposals
from cnnjax.models import BackboneNetwork, Endpoints, Paper, map_at, resnet


STRIDE = 16
BINS = 7  # Of a region, in each direction.
SAMPLES = 4  # Of a bin that is moved, likewise; the authors' code has as many.


class RFCN(RegionDetector, BackboneNetwork, kw_only=True):
    """R-FCN detector on a classifier whose last map has stride 16.

    Attributes:
      features: channels of the layer on the last map.
      anchor_sizes: of the anchors of a place, in pixels.
      deformable_pooling: whether bins are moved by what their regions show (Dai et
        al., 2017, Fig. 4).
    """

    image_size: int = 608
    selection: Selection = Selection(candidates=300, iou_threshold=0.3)
    samples: int = 128
    features: int = 1024
    anchor_sizes: tuple[int, ...] = (64, 128, 256, 512)
    deformable_pooling: bool = False

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
        """Endpoints: the classifier's, feature_0 (stride 16).

        And rpn_objectness_0, rpn_deltas_0, anchors_0; the regions that were looked at,
        rois [n k, 5], and theirs: box_scores [n k, num_classes], box_deltas [n k, 4].

        Losses: rpn_objectness, rpn_boxes, classification, boxes.

        Args:
          image, objects, sizes, train: as in every detector.
          proposals: boxes to be looked at instead of those that are proposed.
        """
        conv = self.layers(train, SMALL, use_bias=True).conv
        maps, out = self.run_backbone(image, train)
        out = {name: x for name, x in out.items() if x.ndim == 4}
        x = nn.relu(conv(self.features, name="conv")(map_at(maps, STRIDE)))
        out["feature_0"] = x
        rpn = RegionProposals(
            conv, [self.anchor_sizes], self.selection.candidates, name="rpn"
        )
        score_maps = conv(BINS**2 * self.classes, name="head")(x)
        box_maps = conv(BINS**2 * 4, name="box_head")(x)
        offset_maps = None
        if self.deformable_pooling:
            offset_maps = conv(
                BINS**2 * 2, kernel_init=nn.initializers.zeros, name="offset_head"
            )(x)

        def look(regions: Array) -> tuple[Array, Array, Endpoints]:
            rois = as_rois(regions)
            pool = functools.partial(
                ops.ps_roi_pool, rois=rois, output_size=BINS, spatial_scale=1 / STRIDE
            )
            if offset_maps is not None:  # The regions' votes for where bins should be.
                pool = functools.partial(
                    ops.deform_roi_pool,
                    rois=rois,
                    offset=pool(offset_maps),
                    spatial_scale=1 / STRIDE,
                    sampling_ratio=SAMPLES,
                    position_sensitive=True,
                )
            scores, deltas = (pool(y).mean((1, 2)) for y in (score_maps, box_maps))
            return scores, deltas, {"box_scores": scores, "box_deltas": deltas}

        looked, of_regions = self.look_twice(
            image, objects, sizes, proposals, functools.partial(rpn, image, [x]), look
        )
        return looked.output, out | of_regions


PAPERS = {"*": Paper("Dai et al.", 2016, "https://arxiv.org/abs/1605.06409")}

VARIANTS = {
    f"rfcn_{name}": functools.partial(
        RFCN, classifier=functools.partial(resnet.VARIANTS[name], output_stride=STRIDE)
    )
    for name in ("resnet50", "resnet101")
}
