"""MobileNetV3, as torchvision calls it."""


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


SOURCES = [torchvision]
