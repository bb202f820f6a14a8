"""Faster ways for CPUs, one file per class of convolutions.

The first that applies is taken, so the special ones stand before the general ones. To
add one, write its file, name it here, and let `experiments/benchmark_ops.py` judge it.
"""

from cnnjax.ops._lowerings._dense import DENSE, LAX
from cnnjax.ops._lowerings._depthwise import DEPTH_MULTIPLIER, DEPTHWISE
from cnnjax.ops._lowerings._few_channels import FEW_CHANNELS
from cnnjax.ops._lowerings._grouped import GROUPED
from cnnjax.ops._lowerings._im2col import IM2COL
from cnnjax.ops._lowerings._pointwise import PATCHES, POINTWISE
from cnnjax.ops._lowerings._transposed import TRANSPOSED
from cnnjax.ops._lowerings._winograd import WINOGRAD, WINOGRAD_4
from cnnjax.ops._primitive import LOWERINGS


LOWERINGS |= {
    "transposed": TRANSPOSED,
    "depthwise": DEPTHWISE,
    "depth_multiplier": DEPTH_MULTIPLIER,
    "grouped": GROUPED,
    "pointwise": POINTWISE,
    "patches": PATCHES,
    "few_channels": FEW_CHANNELS,
    "winograd": WINOGRAD,
    "im2col": IM2COL,
    "dense": DENSE,
    "lax": LAX,
    # Behind what applies to all, so that it is never chosen.
    "winograd_4": WINOGRAD_4,
}
