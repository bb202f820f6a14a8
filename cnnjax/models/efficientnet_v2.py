"""EfficientNetV2: Smaller Models and Faster Training.

Deviation: dropout is constant, while the paper's grows with the images in training.
"""

import functools

from cnnjax.models._classifier import Paper
from cnnjax.models.efficientnet import EfficientNet, Stage


class EfficientNetV2(EfficientNet, kw_only=True):
    """EfficientNetV2 classifier.

    Endpoints: stem, stage1 (stride 2), 2 (4), 3 (8), 4, 5 (16), 6 and 7, if any (32).
    """

    epsilon: float = 1e-3


PAPERS = {"*": Paper("Tan and Le", 2021, "https://arxiv.org/abs/2104.00298")}

# S: Table 4. M and L, the dropout, the image sizes (of evaluation): the authors' code,
# https://github.com/google/automl, efficientnetv2.
VARIANTS = {
    "efficientnet_v2_s": functools.partial(
        EfficientNetV2,
        stages=(
            Stage(1, 3, 1, 24, 2, fused=True),
            Stage(4, 3, 2, 48, 4, fused=True),
            Stage(4, 3, 2, 64, 4, fused=True),
            Stage(4, 3, 2, 128, 6),
            Stage(6, 3, 1, 160, 9),
            Stage(6, 3, 2, 256, 15),
        ),
        stem_features=24,
        image_size=384,
        dropout_rate=0.2,
    ),
    "efficientnet_v2_m": functools.partial(
        EfficientNetV2,
        stages=(
            Stage(1, 3, 1, 24, 3, fused=True),
            Stage(4, 3, 2, 48, 5, fused=True),
            Stage(4, 3, 2, 80, 5, fused=True),
            Stage(4, 3, 2, 160, 7),
            Stage(6, 3, 1, 176, 14),
            Stage(6, 3, 2, 304, 18),
            Stage(6, 3, 1, 512, 5),
        ),
        stem_features=24,
        image_size=480,
        dropout_rate=0.3,
    ),
    "efficientnet_v2_l": functools.partial(
        EfficientNetV2,
        stages=(
            Stage(1, 3, 1, 32, 4, fused=True),
            Stage(4, 3, 2, 64, 7, fused=True),
            Stage(4, 3, 2, 96, 7, fused=True),
            Stage(4, 3, 2, 192, 10),
            Stage(6, 3, 1, 224, 19),
            Stage(6, 3, 2, 384, 25),
            Stage(6, 3, 1, 640, 7),
        ),
        stem_features=32,
        image_size=480,
        dropout_rate=0.4,
    ),
}
