"""VGG, as torchvision and timm call it; poolings and activations have numbers."""


def _torchvision(model):
    names = {"fc1": "classifier.0", "fc2": "classifier.3", "head": "classifier.6"}
    number = 0
    for stage, depth in enumerate(model.depths, start=1):
        for block in range(1, depth + 1):
            ours = f"stage{stage}_block{block - 1 if stage == 1 else block}"
            ours = "stem" if ours == "stage1_block0" else ours
            names[f"{ours}/Conv_0"] = f"features.{number}"
            names[f"{ours}/BatchNorm_0"] = f"features.{number + 1}"
            number += 3 if model.batch_norm else 2
        number += 1  # The pooling.
    return names


def _timm(model):
    """The dense layers are convolutions there, the first one over all of the maps."""
    return _torchvision(model) | {
        "fc1/kernel": ("pre_logits.fc1.weight", (-1, model.dims[-1], 7, 7)),
        "fc2/kernel": (
            "pre_logits.fc2.weight",
            (-1, model.hidden_features, 1, 1),
        ),
        "fc1": "pre_logits.fc1",
        "fc2": "pre_logits.fc2",
        "head": "head.fc",
    }


SOURCES = [_torchvision, _timm]
