"""MobileNetV2, as torchvision and timm call it."""

from cnnjax.weights.names._inverted_residual import TIMM


def torchvision(model):
    """Blocks are numbered through; what follows the expansion moves up without it."""
    names = {
        "stem": "features.0.0",
        "stem_norm": "features.0.1",
        "head": "classifier.1",
    }
    k = 0
    for s, stage in enumerate(model.stages, start=1):
        for b in range(1, stage.depth + 1):
            k += 1
            block, theirs = f"stage{s}_block{b}", f"features.{k}.conv"
            i = 0 if stage.expansion == 1 else 1
            names |= {
                f"{block}/expand": f"{theirs}.0.0",
                f"{block}/expand_norm": f"{theirs}.0.1",
                f"{block}/depthwise": f"{theirs}.{i}.0",
                f"{block}/depthwise_norm": f"{theirs}.{i}.1",
                f"{block}/project": f"{theirs}.{i + 1}",
                f"{block}/project_norm": f"{theirs}.{i + 2}",
            }
    return names | {
        "head_conv": f"features.{k + 1}.0",
        "head_norm": f"features.{k + 1}.1",
    }


SOURCES = [torchvision, lambda model: TIMM]
