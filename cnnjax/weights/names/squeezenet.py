"""SqueezeNet, as torchvision calls its layers; its poolings have numbers, too."""


def _torchvision(model):
    names = {"stem": "features.0", "head": "classifier.1"}
    number = 3  # After the stem's convolution, activation and pooling.
    for stage, depth in enumerate(model.depths, start=1):
        for block in range(1, depth + 1):
            for layer in ("squeeze", "expand1x1", "expand3x3"):
                ours = f"stage{stage}_block{block}/{layer}"
                names[ours] = f"features.{number}.{layer}"
            number += 1
        number += 1  # The pooling.
    return names


SOURCES = [_torchvision]
