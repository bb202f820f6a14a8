"""Fusion of frames at either end of a network."""

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax.models import Classifier
from cnnjax.video._clips import check_clip, fold, unfold, windows


class EarlyFusion(nn.Module):
    """A classifier of images that sees all frames at once, as channels of one image.

    Only its first layer knows of them. It is called as classifiers are; the endpoints
    are its own.

    Attributes:
      model: any classifier; its kernels fit the channels that it is initialised with.
      frames: how many a clip has.

    Source: Karpathy et al., 2014, https://doi.org/10.1109/CVPR.2014.223, section 3.1.
    """

    model: Classifier
    frames: int

    @nn.compact
    def __call__(
        self, clip: Float[Array, "..."], *, train: bool = False
    ) -> tuple[Array, dict[str, Array]]:
        """Returns logits [n, num_classes] and endpoints.

        Raises:
          ValueError: if the clip is not [n, frames, h, w, c].
        """
        check_clip(clip, self.frames)
        return self.model(fold(windows(clip, self.frames, 1)), train=train)


class LateFusion(nn.Module):
    """A classifier of images that sees each frame on its own, but for the head.

    That is a dense layer over the features of all frames, one after another. The
    endpoints have an axis of time [n, t, ...], but for `pre_logits` [n, t features] and
    `logits`.

    Attributes:
      model: any classifier; the head is left out.
      frames: how many a clip has. (Two in the paper, half a second apart.)

    Source: Karpathy et al., 2014, https://doi.org/10.1109/CVPR.2014.223, section 3.1.
    """

    model: Classifier
    frames: int

    @nn.compact
    def __call__(
        self, clip: Float[Array, "..."], *, train: bool = False
    ) -> tuple[Array, dict[str, Array]]:
        """Returns logits [n, num_classes] and endpoints.

        Raises:
          ValueError: if the clip is not [n, frames, h, w, c].
        """
        check_clip(clip, self.frames)
        n = len(clip)
        tower = self.model.clone(num_classes=None, parent=self, name="tower")
        x, out = tower(fold(clip), train=train)
        out = {name: unfold(value, n) for name, value in out.items()}
        x = out["pre_logits"] = x.reshape(n, -1)
        if self.model.num_classes is not None:
            head = nn.Dense(
                self.model.num_classes,
                dtype=self.model.dtype,
                param_dtype=self.model.param_dtype,
                name="head",
            )
            x = out["logits"] = head(x)
        return x, out
