"""Every variant with a golden file computes what its reference computes."""

import golden_files
import jax
import numpy as np
import pytest

import cnnjax


# They take more than five seconds; a smaller variant of each stands for them, and
# DeepLab for the other network on the same ResNet.
SLOW = {"densenet121", "fcn_resnet50", "resnet110_cifar", "shufflenet_v1_g8"}
SLOW |= {"efficientnet_v2_s", "resnext50_32x4d", "vgg16_bn", "wide_resnet50_2"}
FILES = [
    pytest.param(
        (file, name), id=name, marks=[pytest.mark.slow] if name in SLOW else []
    )
    for file, name in golden_files.models().items()
]


@pytest.fixture(scope="module", params=FILES)
def golden(request):
    """A variant's name, its golden file, and the weights in both layouts."""
    file, name = request.param
    state, images, arrays = golden_files.load(file)
    return name, images, arrays, state, cnnjax.weights.from_torch(name, state)


def test_equals_the_reference(golden):
    name, images, arrays, _, variables = golden
    model = cnnjax.create(name, num_classes=arrays["output"].shape[1])
    logits, _ = jax.jit(model.apply)(variables, images)
    if logits.ndim == 4:
        logits = logits[:, ::16, ::16].transpose(0, 3, 1, 2)
    error = np.abs(logits - arrays["output"]).max() / np.std(arrays["output"])
    # Measured: up to 7e-6 on one processor, 1.001e-5 (VGG-11) on another, which sums in
    # another order. The files themselves ask for 1e-3.
    assert error < 1.1e-5, error
    assert sum(a.size for a in jax.tree.leaves(variables["params"])) == arrays["params"]


def test_round_trip_is_exact(golden):
    name, _, _, state, variables = golden
    back = cnnjax.weights.to_torch(name, variables)
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert back[key].dtype == value.dtype, key
        np.testing.assert_array_equal(back[key], value, err_msg=key)
