"""Compiled programs are read and turned into times as documented; none runs."""

import dataclasses
import importlib.util
import json
from collections import Counter

import aot_compile
import aot_tpu
import hlo_text
import jax
import pytest
from PIL import Image

from cnnjax import cost
from cnnjax.errors import UserError


# 1,024 kernels' bytes are exchanged at once, and 2 x 64 of statistics before.
PROGRAM = """\
HloModule jit_step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[]{:T(128)} parameter(0)
  %b = f32[]{:T(128)} parameter(1)
  ROOT %add.1 = f32[]{:T(128)} add(%a, %b)
}

ENTRY %main (x: bf16[4,8], w: f32[16,32]) -> (f32[16,32], f32[16]) {
  %x = bf16[4,8]{1,0:T(8,128)(2,1)} parameter(0), metadata={op_name="x"}
  %w = f32[16,32]{1,0:T(8,128)} parameter(1)
  %copy-start.1 = (bf16[4,8]{1,0:S(1)}, bf16[4,8]{1,0}, u32[]{:S(2)}) copy-start(%x)
  %copy-done.1 = bf16[4,8]{1,0:S(1)} copy-done(%copy-start.1)
  %slice-start.1 = ((f32[16,32]{1,0:T(8,128)}), f32[4,32]{1,0:T(8,128)S(1)}, \
s32[]{:S(2)}) slice-start(%w), slice={[0:4], [0:32]}
  %slice-done.1 = f32[4,32]{1,0:T(8,128)S(1)} slice-done(%slice-start.1)
  %fusion.1 = (f32[16]{0:S(1)}, f32[16]{0}) fusion(%copy-done.1, /*index=1*/%w), \
kind=kLoop, backend_config={"estimated_cycles":"70"}
  %first = f32[16]{0:S(1)} get-tuple-element(%fusion.1), index=0
  %second = f32[16]{0} get-tuple-element(%fusion.1), index=1
  %all-reduce.1 = (f32[16]{0:S(1)}, f32[16]{0}) all-reduce(%first, %second), \
channel_id=1, to_apply=%sum
  %fusion.2 = bf16[16,32]{1,0} fusion(%all-reduce.1), backend_config={\
"estimated_cycles":"30"}
  %all-reduce-start.2 = bf16[16,32]{1,0:S(1)} all-reduce-start(%fusion.2), \
to_apply=%sum
  %all-reduce-done.2 = bf16[16,32]{1,0:S(1)} all-reduce-done(%all-reduce-start.2)
  ROOT %done = (bf16[16,32]{1,0:S(1)}, f32[16]{0}) tuple(%all-reduce-done.2, %second)
}
"""


def test_collectives_are_found_with_their_bytes():
    first, second = hlo_text.collectives(PROGRAM)
    assert (first.op, first.num_bytes) == ("all-reduce", 2 * 16 * 4)
    assert first.operands == ("first", "second")
    assert (second.op, second.num_bytes) == ("all-reduce", 16 * 32 * 2)
    assert second.arrays == (hlo_text.Array("bf16", (16, 32), (32, 16), False),)
    moved = "  %move = (f32[2]{0}, f32[2]{0}, u32[]) collective-permute-start(%first)"
    (found,) = hlo_text.collectives(moved)
    assert (found.op, found.num_bytes) == ("collective-permute", 8)
    gather = "  %all-gather.1 = pred[8,2]{1,0} all-gather(%x), dimensions={0}"
    (found,) = hlo_text.collectives(gather)
    assert (found.op, found.num_bytes) == ("all-gather", 16)


def test_only_what_lies_in_the_main_memory_is_traffic():
    copied, sliced = 4 * 8 * 2, 8 * 128 * 4  # The slice fills a tile.
    fused = 16 * 128 * 4 + 16 * 4  # Of the results, one is in the vector memory.
    reduced = 16 * 4 + 16 * 4
    last = 16 * 4 + 16 * 32 * 2  # What the second fusion reads and writes.
    traffic = copied + sliced + fused + reduced + last + 16 * 32 * 2
    assert hlo_text.main_memory_bytes(PROGRAM) == traffic
    assert hlo_text.estimated_cycles(PROGRAM) == 100


DEVICE = cost.Device("simple", {"bfloat16": 1e12}, 1e9, 0, 1e8, "made up")
ROW = {"macs": 10**12, "traffic": 10**9, "all_reduces": [10**8, 100], "sides": [2, 2]}


def test_prediction():
    """Two seconds of products beside one of traffic; two rounds of 3/4 of a second."""
    step = aot_tpu.predict(ROW, DEVICE, "bfloat16")
    assert step == pytest.approx((2.0, 1.0, 2 * 3 / 4 * (1 + 1e-6)))
    assert step.exposed == step.compute + step.exchange
    assert step.hidden == 2.0
    # Only the small all-reduce is shorter than the way around four chips and back.
    late = aot_tpu.predict(ROW, DEVICE, "bfloat16", hop_seconds=0.1)
    assert late.exchange == pytest.approx(1.5 + 4 * 0.1)


def test_efficiency_is_that_of_four_chips():
    shared = {"model": "net", "images_per_chip": 8, "fits": True}
    rows = [
        {"topology": f"v5e:{name}", "chips": chips, "images_per_s": rate, **shared}
        | {"images_per_s_with_hops": rate / 2}
        for name, chips, rate in (("2x2", 4, 400.0), ("4x4", 16, 1200.0))
    ]
    rows.append({**rows[0], "topology": "v6e:4x4", "chips": 16})
    aot_tpu.add_efficiency(rows)
    assert [row.get("efficiency") for row in rows] == [1.0, 0.75, None]
    assert rows[1]["efficiency_with_hops"] == 0.75


def test_a_failure_is_a_row_that_says_so(monkeypatch, tmp_path):
    said = "RESOURCE_EXHAUSTED: 92.36G exceeds available HBM (15.75G)"
    monkeypatch.setattr(aot_tpu, "start", lambda job, path: {"error": said})
    config = dataclasses.replace(aot_tpu.PRESETS["smoke"], out=tmp_path)
    row = aot_tpu.measure("he2015_cifar", "v5e:2x2", config)
    assert row["fits"] is False and row["macs"] > 32 * 3 * 37e6 * 0.95
    text = aot_tpu.markdown([row])
    assert "| v5e:2x2 | 4 | 32 | 4 | no |" in text and f"v5e:2x2: {said}" in text


def test_a_process_that_dies_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(aot_tpu, "SHELL", "echo dying >&2; kill -9 $$")
    found = aot_tpu.start(aot_compile.Job("v5e:2x2"), tmp_path / "job")
    assert found == {"error": "exit status -9: dying"}


def config(**options):
    return dataclasses.replace(aot_tpu.PRESETS["smoke"], **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"recipes": ("convnext_tinny",)}, "unknown recipe.*convnext_tiny"),
        ({"topologies": ("v5e:2by2",)}, "unknown topology 'v5e:2by2'"),
        ({"topologies": ("v9z:2x2",)}, "unknown device 'tpu_v9z'"),
        ({"topologies": ("v4:2x2x1",)}, "links in v4:2x2x1 is not known"),
        ({"batch_size": 30}, "batch size 30 is not divisible by 4 chips"),
        ({"images_per_chip": 0}, "must be positive"),
    ],
)
def test_bad_input(monkeypatch, tmp_path, options, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(UserError, match=message) as error:
        aot_tpu.check(config(out=tmp_path, **options))
    assert "\n" not in str(error.value)


def test_libtpu_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[tpu-aot\]"'):
        aot_tpu.main(config(out=tmp_path))


@pytest.mark.tpu_aot
def test_smoke_has_one_fused_all_reduce_of_gradients(tmp_path, capsys):
    """All kernels' gradients go in one instruction, and no activations are gathered.

    BatchNorm has the statistics of the whole batch, forward and backward, so that there
    are small all-reduces of vectors as well, which nothing can fuse: each has to be
    finished before the next layer begins. What holds a matrix or a convolution's kernel
    is a gradient, for activations are not reduced, and that is one instruction.
    """
    (row,) = aot_tpu.main(config(out=tmp_path))
    assert row["fits"] and row["others"] == []
    found = hlo_text.collectives((tmp_path / "he2015_cifar-v5e-2x2.hlo").read_text())
    assert {instruction.op for instruction in found} == {"all-reduce"}
    of_kernels, vectors = [], []
    for instruction in found:
        matrices = any(len(array.shape) > 1 for array in instruction.arrays)
        (of_kernels if matrices else vectors).append(instruction)
    (gradients,) = of_kernels
    _, model, image = aot_compile.prepare("he2015_cifar", "bfloat16")
    variables = jax.eval_shape(
        model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image), "float32")
    )
    params = jax.tree.leaves(variables["params"])
    kernels = [param.shape for param in params if param.ndim > 1]
    reduced = [array.shape for array in gradients.arrays if len(array.shape) > 1]
    assert Counter(reduced) == Counter(kernels)
    # They are sent as they were computed, in half precision.
    assert {array.dtype for array in gradients.arrays} == {"bf16"}
    assert sum(x.num_bytes for x in vectors) < 0.05 * gradients.num_bytes

    # XLA counts other arithmetic, too.
    assert 1 < row["flops"] / (2 * row["macs"]) < 1.1
    assert 5e6 < row["memory"] < 2e8 and row["traffic"] > 32 * 32 * 32 * 3 * 4
    assert row["efficiency"] == 1 and 1e4 < row["images_per_s"] < 1e8
    assert json.loads((tmp_path / "aot_tpu.json").read_text())[0]["macs"] == row["macs"]
    assert (tmp_path / "aot_tpu.md").read_text() in capsys.readouterr().out
    with Image.open(tmp_path / "tpu_scaling.png") as picture:
        assert len(picture.getcolors(10**6)) > 50


@pytest.mark.tpu_aot
def test_batch_that_does_not_fit(tmp_path):
    (row,) = aot_tpu.main(config(out=tmp_path, images_per_chip=200_000))
    assert row["fits"] is False and "HBM" in row["error"]


@pytest.mark.tpu_aot
def test_libtpu_is_asked_about_topologies(tmp_path):
    with pytest.raises(UserError, match=r"topology 'v5e:3x3': .* not divisible"):
        aot_tpu.check(config(out=tmp_path, topologies=("v5e:3x3",)))
