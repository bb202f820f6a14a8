"""Data sets by their TFDS name, read without TensorFlow."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from cnnjax import errors
from cnnjax.data import _embedded, coco, digits, scenes
from cnnjax.data.detection import DetectionSource, StoredObjects, room
from cnnjax.data.sources import ClipSource, ImageSource, SegmentationSource


EMBEDDED = (digits.Digits, scenes.Scenes)

# Classes of masks whose feature does not name them, and the first one's label.
_MASKS = {"oxford_iiit_pet": (("pet", "background", "border"), 1)}


def default_data_dir() -> Path:
    """Returns the folder of prepared data sets: `cnnjax` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cnnjax")


def load(name: str, split: str, data_dir: Path | None = None) -> ImageSource:
    """Opens a split of an image classification set, preparing it first if embedded.

    Args:
      name: TFDS's name, e.g. "digits", "cifar10" or "imagenet2012".
      split: TFDS's split, e.g. "train", "train[:90%]" or "train+validation[20:]".
      data_dir: where prepared data sets live; default: `default_data_dir()`.

    Returns:
      The examples, in the order in which TFDS stores them.

    Raises:
      UserError: if the data set or split does not exist, is not prepared in a format
        that can be read without TensorFlow, or has no images with labels.
    """
    needed = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    features, examples = _open(name, split, data_dir, "image classification", needed)
    return ImageSource(
        name=f"{name}/{split}",
        examples=examples,
        image_shape=features["image"].shape,
        class_names=features["label"].names,
    )


def load_segmentation(
    name: str, split: str, data_dir: Path | None = None
) -> SegmentationSource:
    """Opens a split of a set of images with a class per pixel.

    Args:
      name: TFDS's name, e.g. "scenes", "scenes/sparse" or "oxford_iiit_pet". Its
        features have an `image` and a `segmentation_mask`, a `LabeledImage`, which
        names the classes (those of the pets are known).
      split: as `load` takes it.
      data_dir: as `load` takes it.

    Returns:
      The examples, in the order in which TFDS stores them.

    Raises:
      UserError: as `load` does; or if nothing tells the classes of the masks.
    """
    kind = tfds.features.Image
    needed = {"image": kind, "segmentation_mask": kind}
    features, examples = _open(name, split, data_dir, "segmentation", needed)
    mask = features["segmentation_mask"]
    if isinstance(mask, tfds.features.LabeledImage) and mask.names:
        class_names, first_label = mask.names, 0
    elif name in _MASKS:
        class_names, first_label = _MASKS[name]
    else:
        raise errors.UserError(
            f"data set {name!r} does not tell the classes of its masks: its "
            "'segmentation_mask' is no LabeledImage with names"
        )
    return SegmentationSource(
        name=f"{name}/{split}",
        examples=examples,
        image_shape=features["image"].shape,
        class_names=class_names,
        first_label=first_label,
    )


def load_clips(name: str, split: str, data_dir: Path | None = None) -> ClipSource:
    """Opens a split of a set of clips of one class each.

    Args:
      name: TFDS's name, e.g. "scenes/clips". Its features have a `label` and a `video`,
        a sequence of so many images.
      split: as `load` takes it.
      data_dir: as `load` takes it.

    Returns:
      The examples, in the order in which TFDS stores them.

    Raises:
      UserError: as `load` does; or if the clips differ in length.
    """
    needed = {"video": tfds.features.Sequence, "label": tfds.features.ClassLabel}
    features, examples = _open(name, split, data_dir, "video classification", needed)
    shape = features["video"].shape
    if len(shape) != 4 or shape[0] is None:
        raise errors.UserError(
            f"data set {name!r} has no clips of one length: the shape of its 'video' "
            f"is {shape}; it must be a number of frames, then height, width, channels"
        )
    return ClipSource(
        name=f"{name}/{split}",
        examples=examples,
        image_shape=shape,
        class_names=features["label"].names,
    )


def load_detection(
    name: str,
    split: str,
    data_dir: Path | None = None,
    *,
    max_objects: int | None = None,
    leave_out: bool = False,
    masks: bool = False,
) -> DetectionSource:
    """Opens a split of a set of images with boxes.

    The objects of all images are counted first, which reads the split once, though it
    decodes no image: half a second for 2000 scenes.

    Args:
      name: TFDS's name, e.g. "scenes", "scenes/large" or "voc/2007"; or a folder, as
        `load_coco_folder` takes it, whose path then starts with "/", "." or "~". The
        features of a TFDS set have an `image` and `objects` with a `bbox` and a
        `label`; an object that `is_crowd` or `is_difficult` is ignored. Its classes
        follow the background, which is 0.
      split: as `load` takes it; for a folder, as `load_coco_folder` does.
      data_dir: as `load` takes it.
      max_objects: rows of the arrays; default: as many as the fullest image needs.
      leave_out: whether the smallest objects of fuller images are left out. Else such
        images are an error.
      masks: whether objects have masks. A TFDS set has them if it has `instances`:
        images of the objects' numbers, from 1.

    Returns:
      The examples, in the order in which TFDS stores them.

    Raises:
      UserError: as `load` and `load_coco_folder` do; or if images have more objects
        than `max_objects`.
    """
    if name.startswith((".", "~")) or Path(name).is_absolute():
        folder = Path(name).expanduser()
        return coco.load_coco_folder(
            folder, split, max_objects=max_objects, leave_out=leave_out, masks=masks
        )
    kind = tfds.features.Image
    needed = {"image": kind, "objects": tfds.features.Sequence}
    needed |= {"instances": kind} if masks else {}
    features, examples = _open(name, split, data_dir, "object detection", needed)
    inner: Any = features["objects"].feature
    named = dict(inner.items()) if isinstance(inner, tfds.features.FeaturesDict) else {}
    labels = named.get("label")
    if not isinstance(labels, tfds.features.ClassLabel) or "bbox" not in named:
        raise errors.UserError(
            f"data set {name!r} is not object detection: its 'objects' need a 'bbox' "
            "and a 'label' each"
        )
    skip = tfds.decode.SkipDecoding()
    skipped = {key: skip for key, value in features.items() if isinstance(value, kind)}
    _, undecoded = _open(name, split, data_dir, "", {}, skipped)
    counts = [len(undecoded[i]["objects"]["label"]) for i in range(len(undecoded))]
    where = f"{name}/{split}"
    max_objects, left_out = room(where, counts, max_objects, leave_out)
    return DetectionSource(
        name=where,
        examples=StoredObjects(examples, masks),
        image_shape=features["image"].shape,
        class_names=["background", *labels.names],
        max_objects=max_objects,
        masks=masks,
        leave_out=leave_out,
        left_out=left_out,
    )


def _open(
    name: str,
    split: str,
    data_dir: Path | None,
    task: str,
    needed: Mapping[str, type[tfds.features.FeatureConnector]],
    decoders: Any = None,
) -> tuple[dict[str, Any], Sequence[Any]]:
    """Returns the features of a data set that fits a task, and a split's examples."""
    data_dir = data_dir or default_data_dir()
    builder = _builder(name, data_dir)
    info: Any = builder.info
    features = dict(info.features.items())  # Those of a data set are always named.
    if not all(isinstance(features.get(key), kind) for key, kind in needed.items()):
        raise errors.UserError(
            f"data set {name!r} is not {task}: its features are "
            f"{', '.join(sorted(features))}; it needs {' and '.join(map(repr, needed))}"
        )
    if isinstance(builder, EMBEDDED) and not builder.is_prepared():
        config = builder.builder_config
        try:
            _embedded.prepare(type(builder), data_dir, config and config.name)
        except OSError as error:
            raise errors.UserError(
                f"cannot write the data set {name!r} to {data_dir}: {error.strerror}; "
                "choose another folder with --data-dir"
            ) from error
        builder = _builder(name, data_dir)
    try:
        open_split: Any = builder.as_data_source
        examples = open_split(split=split, decoders=decoders)
    except Exception as error:  # TFDS raises another type for each of these.
        raise _unreadable(builder, split, data_dir) from error
    return features, examples


def _builder(name: str, data_dir: Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # Of another type for each thing that can be wrong.
        known = tfds.list_builders(with_community_datasets=False)
        family = re.split("[/:]", name)[0]
        if family == scenes.Scenes.name:
            known = [f"{family}/{config}" for config in scenes.Scenes.builder_configs]
        if name not in known and family not in known:
            if Path(name).is_dir():
                raise errors.UserError(
                    f"there is no data set {name!r}; the folder is called './{name}'"
                ) from error
            raise errors.unknown("data set", name, known) from error
        reason = str(error).splitlines()[0]
        raise errors.UserError(f"cannot open data set {name!r}: {reason}") from error


def _unreadable(
    builder: tfds.core.DatasetBuilder, split: str, data_dir: Path
) -> errors.UserError:
    """Returns the error that says why a split of a known data set cannot be read."""
    file_format = builder.info.file_format
    if not builder.is_prepared():
        found = "is not prepared"
    elif file_format and file_format != tfds.core.FileFormat.ARRAY_RECORD:
        found = f"is prepared as {file_format.value}, which only TensorFlow reads,"
    else:
        known = ", ".join(builder.info.splits)
        return errors.UserError(
            f"data set {builder.name!r} has no split {split!r}; there are {known}"
        )
    command = (
        f"import tensorflow_datasets as tfds; tfds.builder('{builder.name}', "
        f"data_dir='{data_dir}', file_format='array_record').download_and_prepare()"
    )
    return errors.UserError(
        f"data set {builder.name!r} {found} in {data_dir}; to prepare it (this needs "
        f"TensorFlow): pip install 'cnnjax[tf]' && python -c \"{command}\""
    )
