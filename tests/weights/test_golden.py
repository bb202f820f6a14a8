"""Every variant with a golden file computes what its reference computes."""

import golden_files
import jax
import numpy as np
import pytest

import cnnjax


# They take more than five seconds; a smaller variant of each stands for them.
SLOW = {"resnet110_cifar"}
FILES = [
    pytest.param(file, name, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
    for file, name in golden_files.models().items()
]


@pytest.mark.parametrize(("file", "name"), FILES)
def test_equals_the_reference(file, name):
    state, images, golden = golden_files.load(file)
    variables = cnnjax.weights.from_torch(name, state)
    model = cnnjax.create(name, num_classes=golden["output"].shape[1])
    logits, _ = jax.jit(model.apply)(variables, images)
    error = np.abs(logits - golden["output"]).max() / np.std(golden["output"])
    assert error < 1e-5, error  # Measured: up to 3e-6.
    assert sum(a.size for a in jax.tree.leaves(variables["params"])) == golden["params"]


@pytest.mark.parametrize(("file", "name"), golden_files.models().items())
def test_round_trip_is_exact(file, name):
    state, _, _ = golden_files.load(file)
    back = cnnjax.weights.to_torch(name, cnnjax.weights.from_torch(name, state))
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert back[key].dtype == value.dtype, key
        np.testing.assert_array_equal(back[key], value, err_msg=key)
