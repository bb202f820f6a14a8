"""Classifiers as `benchmark_models.py` runs them: by cnnjax and by what else there is.

Each function returns a Run, or None where its library or the network is missing.
"""

import importlib
import os
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from timing import Run, torch, torch_device

import cnnjax
from cnnjax import inference


# Names where others call a network otherwise.
KERAS = {
    "resnet50": "ResNet50",
    "mobilenet_v1": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b0": "EfficientNetB0",
    "convnext_tiny": "ConvNeXtTiny",
    "densenet121": "DenseNet121",
    "vgg16": "VGG16",
}
PYTORCHCV = {"mobilenet_v1": "mobilenet_w1", "shufflenet_v1_g3": "shufflenet_g3_w1"}


def specialised(model: Any, variables: Any, images: np.ndarray) -> Run:
    """Runs what `cnnjax.inference.specialise` makes."""
    fast = inference.specialise(model, variables, images.shape)
    images = jax.device_put(images)
    return lambda: fast(images)


def with_lax(model: Any, variables: Any, images: np.ndarray) -> Run:
    """Runs the model as it is, with XLA's own convolutions."""
    model = model.clone(conv_general_dilated=jax.lax.conv_general_dilated)
    call = jax.jit(lambda variables, images: model.apply(variables, images)[0])
    variables, images = jax.device_put((variables, images))
    return lambda: call(variables, images)


def keras_on_jax(name: str, images: np.ndarray) -> Run | None:
    """Runs Keras 3's network of that name, with weights of its own."""
    if name not in KERAS or find_spec("keras") is None:
        return None
    os.environ["KERAS_BACKEND"] = "jax"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = importlib.import_module("keras")
        network = getattr(keras.applications, KERAS[name])(
            weights=None, input_shape=images.shape[1:]
        )
    state = [v.value for v in network.trainable_variables]
    rest = [v.value for v in network.non_trainable_variables]
    call = jax.jit(
        lambda state, rest, x: network.stateless_call(state, rest, x, training=False)[0]
    )
    images = jax.device_put(images)
    return lambda: call(state, rest, images)


def torch_network(name: str, variables: Any, dtype: str) -> Any:
    """Returns the network in PyTorch with these weights and this dtype, or None."""
    if torch is None:
        return None
    torch.set_num_threads(os.cpu_count())
    if name in PYTORCHCV:
        if find_spec("pytorchcv") is None:
            return None
        provider = importlib.import_module("pytorchcv.model_provider")
        network = provider.get_model(PYTORCHCV[name])
    else:
        models = importlib.import_module("torchvision.models")
        network = models.get_model(name, weights=None)
    weights = cnnjax.weights.to_torch(name, variables)
    state = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    network.load_state_dict(state)
    return network.eval().to(
        torch_device(), getattr(torch, dtype), memory_format=torch.channels_last
    )


def eager(network: Any, images: np.ndarray) -> Run:
    """Runs a network in PyTorch, channels last."""
    return call_of(network, torch_images(network, images))


def frozen(network: Any, images: np.ndarray) -> Run:
    """Runs it as TorchScript, frozen and optimised for inference."""
    x = torch_images(network, images)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.freeze(torch.jit.trace(network, x))
        return call_of(torch.jit.optimize_for_inference(traced), x)


def call_of(network: Any, x: Any) -> Run:
    """Returns a function () -> network(x) without gradients."""

    def run() -> Any:
        with torch.inference_mode():
            return network(x)

    return run


def onnx_runtime(network: Any, images: np.ndarray) -> Run | None:
    """Runs PyTorch's export of it in ONNX Runtime."""
    found = all(map(find_spec, ("onnxruntime", "onnxscript", "onnx")))
    if not found or torch_device() != "cpu":
        return None
    runtime = importlib.import_module("onnxruntime")
    x = torch_images(network, images).contiguous()
    plain = network.to(memory_format=torch.contiguous_format)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        torch.onnx.export(plain, (x,), path, dynamo=True, verbose=False)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = runtime.InferenceSession(path, options)
    feed = {session.get_inputs()[0].name: x.numpy()}
    network.to(memory_format=torch.channels_last)
    return lambda: session.run(None, feed)[0]


def torch_images(network: Any, images: np.ndarray) -> Any:
    """Returns images [n, h, w, c] as a network takes them, channels last in memory."""
    weight = next(network.parameters())
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    return x.to(weight.device, weight.dtype, memory_format=torch.channels_last)


def on_host(output: Any) -> np.ndarray:
    """Returns a contestant's output, float32."""
    if torch is not None and isinstance(output, torch.Tensor):
        output = output.float().cpu().numpy()
    return np.asarray(output, np.float32)
