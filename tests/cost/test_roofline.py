"""How long layers take at least, and why."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import cnnjax
from cnnjax import cost
from cnnjax.errors import UserError


SLOW = cost.Device("slow", {"float32": 2e3, "bfloat16": 8e3}, 1e3, 0, 0.0, "made up")


class Separable(nn.Module):
    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        x = nn.Conv(
            channels, (3, 3), feature_group_count=channels, use_bias=False, name="depth"
        )(x)
        return nn.Conv(channels, (3, 3), use_bias=False, name="full")(x)


def test_time_is_the_longer_of_arithmetic_and_bytes():
    report = cost.analyze(jnp.dot, (10, 20), (20, 30))
    (row,) = cost.roofline(report, SLOW).rows
    macs, num_bytes = 10 * 20 * 30, 4 * (10 * 20 + 20 * 30 + 10 * 30)
    assert (row.macs, row.num_bytes) == (macs, num_bytes)
    assert row.intensity == macs / num_bytes
    assert row.seconds == macs / 1e3 and row.bound == "compute"
    assert row.utilisation == 1

    (row,) = cost.roofline(cost.analyze(jnp.dot, (1, 20), (20, 30)), SLOW).rows
    assert row.seconds == 4 * (20 + 600 + 30) / 1e3 and row.bound == "memory"
    assert row.utilisation == pytest.approx(600 / 2600)


def test_half_precision_has_another_peak():
    halves = [jax.ShapeDtypeStruct((64, 64), jnp.bfloat16)] * 2
    whole, half = (
        cost.roofline(cost.analyze(jnp.dot, *arguments), SLOW)
        for arguments in ([(64, 64)] * 2, halves)
    )
    assert whole.seconds == 4 * half.seconds
    assert (whole.peak, half.peak) == (2e3, 8e3)

    def widened(a, b):
        return jnp.dot(a, b, preferred_element_type=jnp.float32)

    wide = cost.roofline(cost.analyze(widened, *halves), SLOW)
    assert wide.peak == 8e3 and wide.rows[0].dtype == "bfloat16"


def test_totals():
    roof = cost.roofline(cost.analyze(Separable(), (8, 14, 14, 32)), SLOW)
    assert roof.seconds == sum(row.seconds for row in roof.rows)
    share = sum(2 * row.macs for row in roof.rows) / 2e3 / roof.seconds
    assert roof.utilisation == pytest.approx(share)
    nothing = cost.roofline(cost.analyze(lambda x: x, (3,)), SLOW)
    assert nothing.seconds == nothing.utilisation == 0


@pytest.mark.parametrize("device", cost.DEVICES)
def test_a_depthwise_convolution_waits_for_the_memory(device):
    """It has as many times less to compute as there are channels, but not to move."""
    report = cost.analyze(Separable(), (64, 28, 28, 512))
    rows = {row.path: row for row in cost.roofline(report, device).rows}
    depthwise, full = rows["depth"], rows["full"]
    assert full.macs == 512 * depthwise.macs
    assert depthwise.bound == "memory" and depthwise.utilisation < 0.1
    assert full.bound == "compute" and full.utilisation == 1
    assert full.seconds < 100 * depthwise.seconds


def test_devices_have_sources_and_sizes_that_make_sense():
    for name, device in cost.DEVICES.items():
        assert device.name == name and device.source.startswith("https://")
        assert 10e9 < device.memory < 200e9 and 0.5e12 < device.bandwidth < 10e12
        assert device.interconnect == 0 or 1e11 < device.interconnect < 2e12
        assert device.peak_of("float32") <= device.peak_of("bfloat16")
        with pytest.raises(UserError, match="unknown dtype of products"):
            device.peak_of("float64")


def test_stages_add_their_layers_up():
    report = cost.analyze(cnnjax.create("resnet20_cifar"), (1, 32, 32, 3))
    layers = cost.roofline(report, "tpu_v5e")
    stages = layers.stages()
    assert [row.path for row in stages.rows if row.path.startswith("stage")] == [
        *("stage1", "stage2", "stage3"),
    ]
    assert stages.seconds == pytest.approx(layers.seconds)
    assert stages.utilisation == pytest.approx(layers.utilisation)


def test_this_cpu_is_measured():
    device = cost.find_device("cpu")
    assert 1e9 < device.peak_of("float32") < 1e14 and 1e8 < device.bandwidth < 1e13
    assert "measured" in device.source


def test_unknown_device():
    with pytest.raises(UserError, match="did you mean h200, h100"):
        cost.roofline(cost.analyze(jnp.sum, (3,)), "h300")


def test_text_and_dictionary():
    roof = cost.roofline(
        cost.analyze(cnnjax.create("resnet18"), (1, 64, 64, 3)), "a100"
    )
    assert "stage4_block1/Conv_0" in str(roof) and "memory" in str(roof)
    described = roof.to_dict()
    assert described["seconds"] == roof.seconds
    assert described["device"]["name"] == "a100"
    assert described["rows"][3] == dataclasses.asdict(roof.rows[3])


class Chip:
    """Stands in for a device of JAX."""

    def __init__(self, kind, platform="tpu"):
        self.device_kind, self.platform = kind, platform


@pytest.mark.parametrize(
    "kind, name",
    [
        ("TPU v5 lite", "tpu_v5e"),
        ("TPU v5", "tpu_v5p"),
        ("TPU v6 lite", "tpu_v6e"),
        ("NVIDIA H100 80GB HBM3", "h100"),
    ],
)
def test_the_peak_of_all_devices(monkeypatch, kind, name):
    monkeypatch.setattr(jax, "devices", lambda: [Chip(kind)] * 4)
    expected = 4 * cost.DEVICES[name].peak["bfloat16"]
    assert cost.peak_here("bfloat16") == expected
    assert cost.peak_here("float8") is None


def test_the_peak_of_what_nobody_knows(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Chip("abacus", "gpu")])
    assert cost.peak_here("float32") is None
