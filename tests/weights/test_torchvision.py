"""Every architecture that torchvision has too computes the same, live.

pip install -e ".[test,torch]" && python -m pytest -m torch
"""

import golden_files
import jax
import numpy as np
import pytest

import cnnjax


torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

NAMES = set(torchvision.models.list_models(module=torchvision.models))
SEGMENTERS = set(torchvision.models.list_models(module=torchvision.models.segmentation))


@pytest.mark.torch
@pytest.mark.parametrize(
    "name", sorted((NAMES | SEGMENTERS) & set(cnnjax.list_models()))
)
def test_equals_torchvision(name):
    options = {"weights_backbone": None} if name in SEGMENTERS else {}
    reference = torchvision.models.get_model(name, weights=None, **options).eval()
    # As in their golden files; float32 resolves the deepest ones no further.
    gain = 0.7 if name.startswith("efficientnet_v2") else 1.5
    state = {
        key: golden_files.fill(key, tuple(value.shape), gain)
        for key, value in reference.state_dict().items()
        if "relative_position_index" not in key
    }
    reference.load_state_dict(
        {key: torch.from_numpy(value) for key, value in state.items()}, strict=False
    )
    images = np.random.RandomState(0).randn(2, 3, 97, 80).astype(np.float32)
    with torch.no_grad():
        wanted = reference(torch.from_numpy(images))
    if name in SEGMENTERS:
        wanted = wanted["out"].movedim(1, -1)
    wanted = wanted.numpy()

    variables = cnnjax.weights.from_torch(name, state)
    model = cnnjax.create(name)
    logits, _ = jax.jit(model.apply)(variables, images.transpose(0, 2, 3, 1))
    assert np.abs(logits - wanted).max() / wanted.std() < 1e-4

    count = sum(a.size for a in jax.tree.leaves(variables["params"]))
    assert count == sum(p.numel() for p in reference.parameters())
    back = cnnjax.weights.to_torch(name, variables)
    assert back.keys() == state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(back[key], value, err_msg=key)


@pytest.mark.torch
def test_no_cnn_of_torchvision_is_left_out():
    others = ("googlenet", "inception", "maxvit", "mnasnet", "swin_v2", "vit")
    ours = set(cnnjax.list_models())
    assert not {name for name in NAMES - ours if not name.startswith(others)}
    # As for those for segmentation, ours are on ResNets.
    assert {name for name in SEGMENTERS if "resnet" in name} < ours
