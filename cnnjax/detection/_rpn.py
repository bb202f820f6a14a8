"""Region proposals: the first of two stages, which finds things of no class."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from cnnjax import ops
from cnnjax.detection._anchors import grid_anchors
from cnnjax.detection._coding import decode_boxes, encode_matched
from cnnjax.detection._detector import Losses, Objects, mean_over, per_anchor, smooth_l1
from cnnjax.detection._matching import match_anchors, sample
from cnnjax.detection._outputs import best, clip, suppress, take
from cnnjax.models import Endpoints, ModuleDef


IOU_THRESHOLD = 0.7
LEAST_SIDE = 1e-3  # Of a proposal, in pixels.
RATIOS = 3  # Shapes of the anchors of one size.
SAMPLES = 256  # Anchors of an image that are learnt from, at most half with objects.


class RPNHead(nn.Module):
    """A 3x3 convolution; on it, for each anchor, a logit and what a box differs by.

    Attributes:
      anchors: of a place.
      conv: constructor of the convolutions.

    Source: Ren et al., 2015, https://arxiv.org/abs/1506.01497, section 3.1.
    """

    anchors: int
    conv: ModuleDef

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n h w a"], Float[Array, "n h w a4"]]:
        x = nn.relu(self.conv(x.shape[-1], 3, name="conv")(x))
        objectness = self.conv(self.anchors, name="objectness")(x)
        return objectness, self.conv(4 * self.anchors, name="deltas")(x)


class RegionProposals(nn.Module):
    """Proposes regions by one head on every map.

    Attributes:
      conv: constructor of the convolutions.
      anchor_sizes: of each map, as in `grid_anchors`.
      count: how many of a map's boxes are looked at, and how many are proposed in all.
    """

    conv: ModuleDef
    anchor_sizes: Sequence[Sequence[int]]
    count: int

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "n h w c"],
        maps: Sequence[Array],
        sizes: Int[Array, "n 2"],
        objects: Objects | None,
        key: Array,
    ) -> tuple[Float[Array, "n k 4"], Bool[Array, "n k"], Losses, Endpoints]:
        """Returns the proposals, which of them are valid, losses, and endpoints.

        There are no losses unless the objects are told. The endpoints are
        rpn_objectness_i and rpn_deltas_i, [n, h, w, anchors] and [n, h, w, 4 anchors],
        and anchors_i [h w anchors, 4].

        Args:
          image: only its shape matters.
          maps: the finest first.
          sizes: rows and columns of the images.
          objects: what there is to be found.
          key: of the choice of anchors to learn from.
        """
        count = RATIOS * len(self.anchor_sizes[0])
        head = RPNHead(count, self.conv, name="head")
        outputs = [head(x) for x in maps]
        objectness = [per_anchor(x, 1)[..., 0] for x, _ in outputs]
        deltas = [per_anchor(x, 4) for _, x in outputs]
        anchors = [
            jnp.asarray(grid_anchors(image.shape[1:3], [x.shape[1:3]], [of_map]))
            for x, of_map in zip(maps, self.anchor_sizes, strict=True)
        ]
        out = {}
        for k, (x, y) in enumerate(outputs):
            out |= {f"rpn_objectness_{k}": x, f"rpn_deltas_{k}": y}
            out |= {f"anchors_{k}": anchors[k]}
        losses = {}
        if objects is not None:
            losses = jax.vmap(functools.partial(rpn_losses, jnp.concatenate(anchors)))(
                jax.random.split(key, len(image)),
                jnp.concatenate(objectness, axis=1),
                jnp.concatenate(deltas, axis=1),
                objects,
            )
        boxes, valid = propose(objectness, deltas, anchors, sizes, self.count)
        return jax.lax.stop_gradient(boxes), valid, losses, out


def propose(
    objectness: Sequence[Array],
    deltas: Sequence[Array],
    anchors: Sequence[Array],
    sizes: Int[Array, "n 2"],
    count: int,
) -> tuple[Float[Array, "n k 4"], Bool[Array, "n k"]]:
    """Returns the best boxes of all maps together, and which rows are valid.

    Args:
      objectness: of each map, the logits of its anchors [n, a].
      deltas: likewise, what boxes differ by from them [n, a, 4].
      anchors: likewise, these [a, 4].
      sizes: rows and columns of the images.
      count: of each map so many boxes are looked at, and so many stay (in training,
        too, where others take twice as many).
    """
    boxes, scores, levels = [], [], []
    for level, (logits, moves, around) in enumerate(
        zip(objectness, deltas, anchors, strict=True)
    ):
        highest, places = best(logits, count, -jnp.inf)
        moves = take(moves, places)
        found = clip(jax.vmap(decode_boxes)(moves, around[places]), sizes)
        sides = found[..., 2:] - found[..., :2]
        boxes.append(found)
        scores.append(jnp.where((sides >= LEAST_SIDE).all(-1), highest, -jnp.inf))
        levels.append(jnp.full(places.shape, level))
    boxes, scores, levels = (
        jnp.concatenate(parts, axis=1) for parts in (boxes, scores, levels)
    )
    kept = suppress(boxes, scores, levels, IOU_THRESHOLD, min(count, scores.shape[1]))
    return kept.boxes_xyxy, kept.valid


class Learnt(NamedTuple):
    """The anchors of an image that are learnt from.

    Attributes:
      places: their numbers [s].
      valid: which of them are so many [s].
      matched: the numbers of their objects, negative for none [s].
      deltas: what these differ by [s, 4].
    """

    places: Array
    valid: Array
    matched: Array
    deltas: Array


def learnt_anchors(
    key: Array, anchors: Float[Array, "a 4"], objects: Objects
) -> Learnt:
    """Chooses the anchors of an image to learn from (section 3.1.3)."""
    boxes = objects["boxes_xyxy"]
    overlaps = ops.box_iou(boxes, anchors)
    matched = match_anchors(overlaps, objects["valid"], 0.7, 0.3, low_quality=True)
    places, valid = sample(key, matched, SAMPLES, 0.5)
    matched = matched[places]
    return Learnt(
        places, valid, matched, encode_matched(boxes, matched, anchors[places])
    )


def rpn_losses(
    anchors: Float[Array, "a 4"],
    key: Array,
    objectness: Float[Array, " a"],
    deltas: Float[Array, "a 4"],
    objects: Objects,
) -> Losses:
    """Returns `rpn_objectness` and `rpn_boxes` of one image (eq. 1)."""
    places, valid, matched, wanted = learnt_anchors(key, anchors, objects)
    found, count = valid & (matched >= 0), valid.sum()
    missed = optax.sigmoid_binary_cross_entropy(
        objectness[places], found.astype(jnp.float32)
    )
    return {
        "rpn_objectness": mean_over(missed, valid, count),
        "rpn_boxes": mean_over(smooth_l1(deltas[places], wanted), found, count),
    }
