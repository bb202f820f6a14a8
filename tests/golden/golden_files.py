"""How to read the golden files; see README.md."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np


def fill(name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """Returns the value of one entry of a reference state_dict."""
    rs = np.random.RandomState(zlib.crc32(name.encode()))
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_var":
        value = 0.75 + 0.5 * rs.rand(*shape)
    elif leaf == "running_mean":
        value = 0.1 * rs.randn(*shape)
    elif leaf in ("layer_scale", "gamma"):
        value = 0.1 + 0.1 * rs.rand(*shape)
    elif len(shape) >= 2:
        value = rs.randn(*shape) * np.sqrt(gain / np.prod(shape[1:]))
    elif leaf == "weight":
        value = 0.9 + 0.2 * rs.rand(*shape)
    else:
        value = 0.05 * rs.randn(*shape)
    return value.astype(np.float32)


def arrays(name: str) -> dict[str, np.ndarray]:
    """Returns what is in a model's golden file."""
    with np.load(Path(__file__).parent / f"{name}.npz") as file:
        return dict(file)


def state_of(golden: dict[str, np.ndarray], gain: float) -> dict[str, np.ndarray]:
    """Returns the state_dict of a golden file."""
    return {
        key: fill(key, tuple(map(int, filter(None, shape.split(",")))), gain)
        for key, shape in zip(golden["names"], golden["shapes"], strict=True)
    }


def load(name: str) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Returns the state_dict, the input (NHWC) and the arrays of a golden file."""
    golden = arrays(name)
    state = state_of(golden, golden["gain"])
    height, width = golden["input_hw"]
    images = np.random.RandomState(0).randn(2, 3, height, width).astype(np.float32)
    return state, images.transpose(0, 2, 3, 1), golden


# Where a reference has another name for a variant of ours.
_OURS = {
    "mobilenet_w1": "mobilenet_v1",
    "mobilenet_wd4": "mobilenet_v1_0_25",
    "shufflenet_g3_w1": "shufflenet_v1_g3",
    "shufflenet_g8_w1": "shufflenet_v1_g8",
    "wrn16_10_cifar10": "wrn_16_10_cifar",
    "deit_small_patch16_224": "deit_small",
    "tf_efficientnet_lite0": "efficientnet_lite0",
}


def models() -> dict[str, str]:
    """Returns our name of the variant of every model's golden file, by the file's."""
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.npz"))
    theirs = {file: file.split("-")[1] for file in files}
    return {
        file: _OURS.get(name, name.replace("_cifar10", "_cifar"))
        for file, name in theirs.items()
    }


def ops_named(prefix: str) -> list[str]:
    """Returns the names of an operation's golden files: the prefix and a number."""
    paths = Path(__file__).parent.glob(f"ops/{prefix}_[0-9]*.npz")
    return sorted(path.stem for path in paths)


def load_op(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays (NCHW) and the options of an operation's golden file."""
    with np.load(Path(__file__).parent / "ops" / f"{name}.npz") as file:
        arrays = dict(file)
    return arrays, json.loads(str(arrays.pop("options")))
