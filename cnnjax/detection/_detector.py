"""What detectors share: how they are called, their maps, and how they learn."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from cnnjax.detection._fpn import FeaturePyramid
from cnnjax.detection._outputs import Detections, Selection
from cnnjax.errors import UserError
from cnnjax.models import BackboneNetwork, Endpoints, ModuleDef, Network, map_at


Objects = Mapping[str, Array]
Losses = dict[str, Array]
Output = tuple[Detections | Losses, Endpoints]

# Of convolutions before a norm-less head, after Lin et al., 2017, section 4.1.
SMALL = nn.initializers.normal(0.01)
# Below this difference the smooth L1 loss is a square, as in Detectron.
BETA = 1 / 9


class Detector(Network):
    """A network that finds objects.

    `model.apply(variables, image, objects=None, sizes=None, train=False)` takes
    normalised images [n, h, w, c]. It returns `Detections` and endpoints by name; or,
    if it is told the objects, its losses, one value per image each, by name. The
    endpoints `anchors_0` and so on are the boxes [anchors, 4] from which it measures
    on each of its maps, in every image, if it has any.

    The objects are {"boxes_xyxy": [n, m, 4] in pixels, "labels": [n, m], "valid":
    [n, m]}, of which only the valid rows are looked at. `sizes`, rows and columns
    [n, 2], say how much of each image is not padding; boxes end there.

    Attributes:
      num_classes: the background, which has label 0, included (default: the 91 of COCO
        in torchvision).
      selection: which of its boxes are detections.
    """

    num_classes: int | None = 91
    selection: Selection = Selection()

    @property
    def classes(self) -> int:
        """The number of classes, without which a detector has no output.

        Raises:
          UserError: if there is none but the background.
        """
        if self.num_classes is None or self.num_classes < 2:
            raise UserError(
                "a detector has no use without classes to detect: num_classes has to "
                f"be at least 2, the background included, not {self.num_classes}"
            )
        return self.num_classes

    def chance(self) -> Array:
        """Returns a key of the stream `dropout`; without one, always the same."""
        has = self.has_rng("dropout")
        return self.make_rng("dropout") if has else jax.random.key(0)


class PyramidDetector(Detector, BackboneNetwork, kw_only=True):
    """A detector on a feature pyramid.

    Attributes:
      features: channels of the pyramid.
    """

    features: int = 256

    def pyramid(
        self, image: Array, train: bool, strides: Sequence[int]
    ) -> tuple[list[Array], Endpoints]:
        """Runs the classifier and the pyramid on its maps at some strides.

        Returns:
          The maps, the finest first; and the classifier's endpoints.

        Raises:
          ValueError: if it has no map at one of the strides.
        """
        init = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
        conv = self.layers(train, init, use_bias=True).conv
        maps, out = self.run_backbone(image, train)
        # What follows the last map is none of a detector's.
        out = {name: x for name, x in out.items() if x.ndim == 4}
        fpn = FeaturePyramid(self.features, conv, name="fpn")
        return fpn([map_at(maps, stride) for stride in strides]), out

    def coarser(
        self, maps: Sequence[Array], conv: ModuleDef, count: int
    ) -> list[Array]:
        """Returns `count` maps: those of strides 8 to 32, and P6 and P7 of the last.

        Source: Lin et al., 2017, https://arxiv.org/abs/1708.02002, section 4.
        """
        maps = [*maps]
        for k in range(3, count):
            x = maps[-1] if k == 3 else nn.relu(maps[-1])
            maps.append(conv(self.features, 3, 2, name=f"p{k + 3}")(x))
        return maps

    def named(self, maps: Sequence[Array]) -> Endpoints:
        """Returns maps as endpoints: feature_0 to feature_2, feature_p6, feature_p7."""
        names = ("0", "1", "2", "p6", "p7")
        return {f"feature_{k}": x for k, x in zip(names, maps, strict=False)}


def sizes_of(image: Array, sizes: Array | None) -> Int[Array, "n 2"]:
    """Returns rows and columns of what is not padding, by default everything."""
    if sizes is None:
        return jnp.broadcast_to(jnp.asarray([image.shape[1:3]]), (len(image), 2))
    return sizes


def per_anchor(x: Float[Array, "n h w c"], columns: int) -> Float[Array, "n m c2"]:
    """Returns a map's channels as float32 rows of so many columns, one per anchor."""
    return full_precision(x).reshape(len(x), -1, columns)


def full_precision(x: Array) -> Array:
    """Returns an array as float32, unless it is finer: scores of 8 bits have ties."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def smooth_l1(
    predicted: Float[Array, "*n 4"], wanted: Float[Array, "*n 4"], beta: float = BETA
) -> Float[Array, "*n"]:
    """Returns the sum over coordinates of `|d| - beta / 2`, or `d^2 / 2 beta` below.

    Source: Girshick, 2015, https://arxiv.org/abs/1504.08083, eq. 3.
    """
    return optax.huber_loss(predicted, wanted, delta=beta).sum(-1) / beta


def mean_over(
    losses: Float[Array, " n"], counted: Bool[Array, " n"], count: Array | int
) -> Float[Array, ""]:
    """Returns the sum of what counts, divided by a number of which 0 stands for 1."""
    return jnp.sum(jnp.where(counted, losses, 0)) / jnp.maximum(count, 1)
