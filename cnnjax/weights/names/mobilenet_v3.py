"""MobileNetV3, as torchvision and timm call it."""

from cnnjax.weights.names._inverted_residual import TIMM


def torchvision(model):
    """Blocks are numbered through, and so are the layers that a block has."""
    names = {"stem": "features.0.0", "stem_norm": "features.0.1"}
    k = 0
    for s, stage in enumerate(model.stages, start=1):
        for b in range(1, len(stage.hidden_features) + 1):
            k += 1
            # The first block has as many hidden channels as the stem: no expansion.
            layers = ["depthwise", "project"]
            if k > 1:
                layers.insert(0, "expand")
            if stage.squeeze_excite:
                layers.insert(-1, "squeeze_excite")
            for i, layer in enumerate(layers):
                ours, theirs = f"stage{s}_block{b}/{layer}", f"features.{k}.block.{i}"
                names |= {
                    ours: f"{theirs}.0",
                    f"{ours}_norm": f"{theirs}.1",
                    f"{ours}/reduce": f"{theirs}.fc1",
                    f"{ours}/expand": f"{theirs}.fc2",
                }
    return names | {
        "head_conv": f"features.{k + 1}.0",
        "head_norm": f"features.{k + 1}.1",
        "hidden": "classifier.0",
        "head": "classifier.3",
    }


def timm(model):
    """Its layer before the head is a 1x1 convolution of one pixel."""
    last = f"blocks.{len(model.stages)}.0"
    features = 6 * model.stages[-1].features
    return {
        "hidden/kernel": ("conv_head.weight", (-1, features, 1, 1)),
        "hidden": "conv_head",
        **TIMM,
        "head_conv": f"{last}.conv",
        "head_norm": f"{last}.bn1",
    }


SOURCES = [torchvision, timm]
