"""Weights from files: a user's, the hub's, a package's."""

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cnnjax import errors, registry
from cnnjax.weights import _safetensors_file, _torch_file
from cnnjax.weights._convert import Variables, from_torch
from cnnjax.weights._preprocessing import Preprocessing
from cnnjax.weights._pretrained import PREPROCESSING, package_file
from cnnjax.weights._saved import MARK, is_saved, kept_preprocessing


Source = str | os.PathLike[str]

# What repositories of the hub call their weights, the preferred name first.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")

# Torchvision's weights of SSD, of a VGG that saw pixels of 0 to 255 less their mean.
_DEFAULTS = {
    "ssd300_vgg16": Preprocessing(
        300, mean=(0.48235, 0.45882, 0.40784), std=(1 / 255, 1 / 255, 1 / 255)
    )
}


def load(name: str, source: Source, **options: Any) -> Variables:
    """Reads weights of a reference implementation.

    Args:
      name: a name from `cnnjax.list_models()`.
      source: a file, `.safetensors` or PyTorch's `.pth`, `.pt`, `.bin` (of the zip
        format or the one before it; read without PyTorch, and nothing in it is run);
        "hf://owner/repository[/file]", on the Hugging Face hub or in its local cache;
        or "pypi", the package with the variant's weights (the extra `pretrained`).
      **options: as in `from_torch`.

    Returns:
      {"params": …, "batch_stats": …} for `cnnjax.create(name, num_classes=…)`.

    Raises:
      UserError: if there is no such file, or it is damaged, holds anything but tensors,
        or other ones than the model needs.
    """
    model = registry.create(name)  # An unknown name is the first thing to say.
    padding = options.get("padding", getattr(model, "padding", "SAME"))
    if str(source).startswith("hf://timm/tf_") and padding != "SAME":
        warnings.warn(
            f"weights named tf_… need TensorFlow's padding and epsilon: "
            f'create("{name}", padding="SAME", epsilon=1e-3)',
            stacklevel=2,
        )
    path = _locate(name, source)
    if path.suffix == ".safetensors":
        state, metadata = _safetensors_file.load(path)
        if MARK in metadata:
            raise errors.UserError(f"{path} is a saved model: use `weights.restore`")
    else:
        state = _torch_file.load(path)
    return from_torch(name, state, **options)


def preprocessing(name: str, source: Source) -> Preprocessing:
    """Returns what images have to go through for weights.

    Args:
      name: a name from `cnnjax.list_models()`.
      source: as in `load`, or a file that `save` wrote (of whichever model). What the
        source does not say is as in most of the weights for ImageNet: bilinear, 7/8 of
        the image, its mean and deviation; but SSD's are those of torchvision's weights.
    """
    if source == "pypi" and name in PREPROCESSING:
        return PREPROCESSING[name]
    if is_saved(source):
        return kept_preprocessing(Path(source))
    default = _DEFAULTS.get(name) or Preprocessing(registry.create(name).image_size)
    if not str(source).startswith("hf://"):
        return default
    try:
        config = json.loads(_from_hub(f"{_repository(source)}/config.json").read_text())
        said = {**config, **config.get("pretrained_cfg", {})}
        return Preprocessing(
            image_size=int(said["input_size"][-1]),
            crop=float(said.get("crop_pct", default.crop)),
            mean=_three(said.get("mean", default.mean)),
            std=_three(said.get("std", default.std)),
            interpolation=said.get("interpolation", default.interpolation),
        )
    except (errors.UserError, LookupError, ValueError, TypeError, AttributeError):
        return default


def _three(values: Iterable[Any]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _locate(name: str, source: Source) -> Path:
    if source == "pypi":
        return package_file(name)
    if str(source).startswith("hf://"):
        return _from_hub(str(source))
    path = Path(source)
    if not path.is_file():
        raise errors.UserError(f"there is no file {path}")
    return path


def _repository(source: Source) -> str:
    """Returns "hf://owner/repository"."""
    parts = str(source).split("/")
    if len(parts) < 4 or not all(parts[2:]):
        raise errors.UserError(f"{source} is not hf://owner/repository[/file]")
    return "/".join(parts[:4])


def _from_hub(source: str) -> Path:
    """Returns the file in the local cache, fetched if it was not there."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise errors.UserError(
            "hf:// needs huggingface_hub; pip install 'cnnjax[hub]'"
        ) from error
    repository = _repository(source)
    file = source.removeprefix(repository).removeprefix("/")
    problem: Exception | None = None
    for candidate in (file,) if file else _HUB_FILES:
        try:
            return Path(
                huggingface_hub.hf_hub_download(
                    repository.removeprefix("hf://"), candidate
                )
            )
        except (EntryNotFoundError, LocalEntryNotFoundError) as error:
            problem = error
        except (OSError, ValueError) as error:  # No network, no such repository.
            raise errors.UserError(f"{source}: {error}") from error
    raise errors.UserError(f"{source}: {problem}")
