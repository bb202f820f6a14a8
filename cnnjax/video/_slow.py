"""Fusion of frames step by step, within a network that was made for images."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype
from jaxtyping import Array, Float

from cnnjax.models import Classifier
from cnnjax.ops._check import check, pair
from cnnjax.video._clips import check_clip, fold, unfold, windows


_STAGE = re.compile(r"stage(\d+)_")


def mean_of_frames(
    key: Any, shape: Sequence[int], dtype: Dtype = jnp.float32
) -> Float[Array, "extent_c c"]:
    """Initialises a kernel so that the fusion is the mean of the window's frames."""
    del key
    extent = shape[0] // shape[1]
    return jnp.tile(jnp.eye(shape[1], dtype=dtype), (extent, 1)) / extent


class SlowFusion(nn.Module):
    """A classifier of images in which windows of frames meet, some layers apart.

    The first layer sees windows of frames as channels of one image. Where the next
    stages begin, windows of what it made of them are fused again, until one is left:
    layers farther up see more of the time.

    Deviation: the paper's second and third convolutions extend over time themselves.
    Here a linear layer over the channels of a window comes before a stage, so that the
    stages are those of any network and keep the weights of images; at first, it takes
    the mean.

    Endpoints have an axis of time [n, t, ...] as long as several windows are left.

    Attributes:
      model: a classifier that has the stages for it (DenseNets and DeiT have not).
      windows: the frames of a window and the stride from one to the next, at the first
        layer and at the beginning of each of the next stages. By default the paper's,
        which take 10 frames to 4, 2 and 1.

    Source: Karpathy et al., 2014, https://doi.org/10.1109/CVPR.2014.223, section 3.1.
    """

    model: Classifier
    windows: Sequence[tuple[int, int]] = ((4, 2), (2, 2), (2, 2))

    @property
    def frames(self) -> int:
        """How many a clip has: what the windows leave one of."""
        frames = 1
        for window in reversed(self.windows):
            extent, stride = pair(window, "windows")
            frames = (frames - 1) * stride + extent
        return frames

    @nn.compact
    def __call__(
        self, clip: Float[Array, "..."], *, train: bool = False
    ) -> tuple[Array, dict[str, Array]]:
        """Returns logits [n, num_classes] and endpoints.

        Raises:
          ValueError: if the clip is not [n, frames, h, w, c], or the model has too few
            stages that begin with maps.
        """
        check_clip(clip, self.frames)
        n = len(clip)
        first, *later = self.windows
        images = fold(windows(clip, *first))
        waiting = list(enumerate(later, start=1))
        begun = set()

        def fuse(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            stage = _beginning(self.model, context, args)
            if stage is None or stage in begun or not waiting:
                return call(*args, **kwargs)
            begun.add(stage)
            x = args[0]
            check(
                isinstance(x, jax.Array) and x.ndim == 4,
                f"the stages of {type(self.model).__name__} do not begin with maps "
                "[n, h, w, c], which alone can be fused",
            )
            if x.shape == images.shape:  # No layer has seen them yet.
                return call(*args, **kwargs)
            number, window = waiting.pop(0)
            layer = nn.Dense(
                x.shape[-1],
                use_bias=False,
                kernel_init=mean_of_frames,
                dtype=self.model.dtype,
                param_dtype=self.model.param_dtype,
                name=f"fusion{number}",
                parent=self,
            )
            x = layer(fold(windows(unfold(x, n), *window)))
            return call(x, *args[1:], **kwargs)

        with nn.intercept_methods(fuse):
            x, out = self.model(images, train=train)
        check(
            not waiting,
            f"{type(self.model).__name__} has too few stages for {len(self.windows)} "
            f"windows; it can fuse {len(self.windows) - len(waiting)}",
        )
        return x, {
            name: value if len(value) == n else unfold(value, n)
            for name, value in out.items()
        }


def _beginning(model: nn.Module, context: Any, args: Any) -> int | None:
    """Returns the number of the stage that begins, or goes on, with a method's call."""
    path = context.module.path
    if path == model.path and context.method_name == "run_stage":
        return args[1]
    # Families without that method, too, name the layers of a stage by its number.
    if path[:-1] == model.path and context.method_name == "__call__":
        match = _STAGE.match(path[-1])
        return match and int(match[1])
    return None
