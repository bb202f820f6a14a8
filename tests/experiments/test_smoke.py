"""Every smoke preset of the experiments runs; some have test files of their own."""

import dataclasses
import json
from pathlib import Path

import benchmark_detection
import benchmark_models
import benchmark_ops
import benchmark_train
import catalogue
import compile_depth
import cost_tables
import cross_validate
import digits_svc
import environment_settings
import peak_memory
import profile_model
import pytest
import receptive_field
import storage
import time_to_accuracy
from conv_shapes import NETWORKS
from PIL import Image

import cnnjax


SMOKED = {"benchmark_ops", "classify", "cross_validate", "digits_svc"}
SMOKED |= {"catalogue", "compile_depth", "cost_tables", "receptive_field"}
SMOKED |= {"benchmark_train", "peak_memory", "profile_model", "aot_tpu"}
SMOKED |= {"environment_settings", "time_to_accuracy", "storage", "benchmark_models"}
SMOKED |= {"segment", "video", "compare_segmentation"}
SMOKED |= {"benchmark_detection", "detect", "compare_detection"}


def smoke(experiment, data_dir):
    config = dataclasses.replace(experiment.PRESETS["smoke"], data_dir=data_dir)
    return experiment.main(config)


def test_none_is_forgotten():
    folder = Path(digits_svc.__file__).parent
    scripts = {p.stem for p in folder.glob("*.py") if "cli.run(" in p.read_text()}
    assert scripts == SMOKED


def test_digits_svc(data_dir, capsys):
    assert 0.5 < smoke(digits_svc, data_dir) < 1.0
    assert "SVC(gamma=0.001) on test: " in capsys.readouterr().out


def test_benchmark_ops(tmp_path, capsys):
    config = dataclasses.replace(benchmark_ops.PRESETS["smoke"], out=tmp_path)
    rows = benchmark_ops.main(config)
    assert {row["kind"] for row in rows} == {"depthwise 3x3", "1x1 dense", "other"}
    written = json.loads((tmp_path / "benchmark_ops.json").read_text())
    assert written["rows"] == rows
    assert written["machine"]["cores"] > 0
    for row in rows:
        for times in (row["forward_ms"], row["forward_backward_ms"]):
            assert set(times) >= {"lax", "cnnjax"}
            assert all(0 < time < 1e4 for time in times.values())
    table = (tmp_path / "benchmark_ops.md").read_text()
    assert table in capsys.readouterr().out
    with Image.open(tmp_path / "benchmark_ops.png") as picture:
        assert len(picture.getcolors(10**6)) > 100


def test_benchmark_detection(capsys):
    timed = benchmark_detection.main(benchmark_detection.PRESETS["smoke"])
    assert len(timed) == 6 and all(times["cnnjax"] > 0 for times in timed.values())
    assert "| NMS, 500 boxes apart |" in capsys.readouterr().out


@pytest.mark.slow
def test_benchmark_train(tmp_path, data_dir, capsys):
    config = benchmark_train.PRESETS["smoke"]
    config = dataclasses.replace(config, out=tmp_path, data_dir=data_dir)
    document = benchmark_train.main(config)
    written = json.loads((tmp_path / "benchmark_train.json").read_text())
    assert written == document
    assert written["machine"]["cores"] > 0
    (row,) = document["rows"]
    assert row["model"] == "resnet20_cifar"
    assert (row["image_size"], row["batch_size"]) == (8, 4)
    # All contestants compute the same.
    losses = row["first_loss"]
    assert set(losses) >= {"lax", "cnnjax"}
    assert list(losses.values()) == pytest.approx([losses["lax"]] * len(losses), 1e-4)
    for times in (row["first_step_s"], row["step_ms"]):
        assert times.keys() == losses.keys()
        assert all(0 < time < 1e4 for time in times.values())
    pipeline = document["pipeline"]
    assert pipeline["read_per_s"] > 0 and pipeline["trained_per_s"] > 0
    table = (tmp_path / "benchmark_train.md").read_text()
    assert table in capsys.readouterr().out
    with Image.open(tmp_path / "benchmark_train.png") as picture:
        assert len(picture.getcolors(10**6)) > 50


def test_benchmark_models(tmp_path, capsys):
    config = benchmark_models.PRESETS["smoke"]
    document = benchmark_models.main(dataclasses.replace(config, out=tmp_path))
    written = json.loads((tmp_path / "benchmark_models.json").read_text())
    assert written == document
    (row,) = document["rows"]
    assert (row["model"], row["image_size"]) == ("squeezenet1_1", 32)
    for figures in (row["ms"], row["first_s"], row["peak_bytes"]):
        assert figures.keys() == {"cnnjax", "lax"}
        assert min(figures.values()) > 0
    table = (tmp_path / "benchmark_models.md").read_text()
    assert table in capsys.readouterr().out
    with Image.open(tmp_path / "benchmark_models.png") as picture:
        assert len(picture.getcolors(10**6)) > 20


@pytest.mark.slow
def test_specialised_models_are_faster_than_with_lax(tmp_path):
    config = benchmark_models.PRESETS["quick"]
    document = benchmark_models.main(dataclasses.replace(config, out=tmp_path))
    least = {"mobilenet_v2": 4, "efficientnet_b0": 3, "resnet18": 1.1}
    for row in document["rows"]:
        ratio = row["ms"]["lax"] / row["ms"]["cnnjax"]
        assert ratio > least[row["model"]], row


def test_benchmarked_shapes_are_those_of_the_papers():
    shapes = {name: list(network()) for name, network in NETWORKS.items()}
    assert str(shapes["vgg16"][-1]) == "3x3/1 14x14 512->512"
    assert str(shapes["mobilenet_v1"][1]) == "3x3/1 112x112 32->32 groups 32"
    # Multiply-accumulates of the papers' tables (DenseNet's and VGG's without the
    # fully connected layers), each convolution as often as its network has it.
    for name, millions in (("mobilenet_v1", 568), ("vgg16", 15347)):
        assert round(sum(s.macs for s in shapes[name]) / 1e6) == millions


def test_catalogue(tmp_path):
    config = catalogue.PRESETS["smoke"]
    config = dataclasses.replace(config, out=tmp_path / "catalogue.json")
    rows = catalogue.main(config)
    assert rows["resnet20_cifar"]["num_params"] == 272_474
    assert json.loads(config.out.read_text()) == rows


@pytest.mark.slow  # The next one does the same with deeper networks.
def test_compile_depth(capsys):
    ratio = compile_depth.main(compile_depth.PRESETS["smoke"])
    assert 0 < ratio < 10
    assert "resnet32_cifar / resnet20_cifar: " in capsys.readouterr().out


@pytest.mark.slow
def test_depth_costs_no_compile_time():
    config = dataclasses.replace(compile_depth.PRESETS["default"], rounds=1)
    assert compile_depth.main(config) <= 3


def test_cost_tables(capsys):
    cost_tables.main(cost_tables.PRESETS["smoke"])
    printed = capsys.readouterr().out
    assert "resnet1202_cifar" in printed and cost_tables.CUT in printed


@pytest.mark.slow
def test_costs_are_the_published_ones_or_a_reason_stands_there():
    differing = {
        (table.quantity, figure.model)
        for table in cost_tables.TABLES
        for figure, _, difference in cost_tables.compare(table)
        if abs(difference) > 0.01
    }
    assert differing == set(cost_tables.WHY)


def assert_met_or_explained(peaks):
    for name, peak in peaks.items():
        if name not in peak_memory.MET:
            # What XLA's program keeps is what it takes: it explains the difference.
            program = sum(size for _, size, _ in peak.kept)
            assert program == pytest.approx(peak.compiled, rel=0.05)
            assert peak.ratio < 1.2
        else:
            assert 0.8 <= peak.ratio <= 1.2


def test_profile_model(capsys):
    found = profile_model.main(profile_model.PRESETS["smoke"])
    operations = found["squeezenet1_1"]
    products = [row for row in operations if row.kind in ("dot", "convolution")]
    # What Winograd's filtering leaves of the multiplications, and all kernels but those
    # that the first convolution, no product, has: 1.23 million numbers.
    macs = cnnjax.cost.analyze(cnnjax.create("squeezenet1_1"), (1, 32, 32, 3)).macs
    assert 0.25 * 2 * macs < sum(row.flops for row in products) < 2 * 2 * macs
    assert sum(row.num_bytes for row in products) > 4 * 1.23e6
    assert all(row.ms > 0 for row in operations)
    slowest = [row.ms for row in operations]
    assert slowest == sorted(slowest, reverse=True)
    printed = capsys.readouterr().out
    assert "squeezenet1_1, 1 images: " in printed
    assert "dot" in printed


def test_peak_memory(capsys):
    peaks = peak_memory.main(peak_memory.PRESETS["smoke"])
    assert_met_or_explained(peaks)
    shown = capsys.readouterr().out
    assert "resnet20_cifar: the largest arrays at the peak" in shown


@pytest.mark.slow
def test_peak_memory_is_within_a_fifth_or_explained():
    peaks = peak_memory.main(peak_memory.PRESETS["default"])
    assert len(peak_memory.MET) >= 10
    assert_met_or_explained(peaks)


@pytest.mark.slow
def test_receptive_field(tmp_path, capsys):
    config = receptive_field.PRESETS["smoke"]
    config = dataclasses.replace(config, out=tmp_path / "fields.png")
    fields = receptive_field.main(config)
    assert fields["stage1"].size == (15, 15)
    assert "stage1" in capsys.readouterr().out
    with Image.open(config.out) as picture:
        assert len(picture.getcolors(10**6)) > 100


@pytest.mark.slow
def test_cross_validate(data_dir, capsys):
    accuracies = smoke(cross_validate, data_dir)
    assert [len(values) for values in accuracies.values()] == [2]
    assert "fold 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 359, "train[0:359]"),
        (1077, 1437, "train[1077:1297]+validation[0:140]"),
        (1300, 1437, "validation[3:140]"),
        (0, 0, ""),
        (1437, 1437, ""),
    ],
)
def test_folds_name_the_original_order(low, high, expected):
    assert cross_validate.images(low, high) == expected


def test_folds_never_touch_the_test_split():
    assert cross_validate.PRESETS["default"].num_images == 1297 + 140


@pytest.mark.slow
def test_time_to_accuracy(data_dir, capsys):
    for row in smoke(time_to_accuracy, data_dir):
        assert len(row["seconds"]) == len(row["accuracies"]) == 2
        assert 0 < row["seconds"][0] < row["seconds"][1]
    assert "seconds to 10.0%" in capsys.readouterr().out


@pytest.mark.slow
def test_environment_settings(capsys):
    times = environment_settings.main(environment_settings.PRESETS["smoke"])
    assert set(times["resnet20_cifar"]) == {"none", "both"}
    assert "MALLOC_MMAP_THRESHOLD_" in capsys.readouterr().out


@pytest.mark.slow
def test_storage(capsys):
    (losses,) = storage.main(storage.PRESETS["smoke"]).values()
    full, half, quarter = (losses[name] for name in ("float32", "bfloat16", "int8"))
    assert (full.agreement, full.error) == (1, 0)
    assert full.megabytes > 1.9 * half.megabytes > 3.3 * quarter.megabytes
    assert half.agreement_if_sure == quarter.agreement_if_sure == 1
    assert 0 < half.error < quarter.error < 0.3
    assert "int8" in capsys.readouterr().out
