"""The numbers reach the console, the file and TensorBoard."""

import io

import pytest
import rich.console
from tensorboardX.proto import event_pb2

from cnnjax.train import RunLog, read_metrics


METRICS = {"loss": 0.5, "accuracy": 0.75, "learning_rate": 0.1}


def make_log(run_dir, start_step=0, **options):
    output = io.StringIO()
    console = rich.console.Console(file=output, width=200, **options)
    log = RunLog(
        run_dir,
        console=console,
        start_step=start_step,
        num_steps=4,
        steps_per_epoch=2,
        batch_size=8,
    )
    return log, output


def train(log, steps):
    with log:
        for step in steps:
            seconds = {"input_seconds": 0.1, "wait_seconds": 0.1 * step}
            log.step(step, METRICS | {"loss": float(step)}, seconds if step > 1 else {})
            if step % 2 == 0:
                log.epoch(step, {"loss": 1.0, "accuracy": 0.25})


def test_records_hold_the_mean_of_the_epoch(tmp_path):
    log, _ = make_log(tmp_path)
    train(log, (1, 2, 3, 4))
    records = read_metrics(tmp_path)
    found = [(r["step"], r["split"], r["loss"]) for r in records]
    assert found == [
        (2, "train", 1.5),
        (2, "validation", 1.0),
        (4, "train", 3.5),
        (4, "validation", 1.0),
    ]
    assert records[0]["images_per_second"] == pytest.approx(8 / 0.3)
    assert records[2]["images_per_second"] == pytest.approx(8 / 0.45)
    assert records[2]["wait_seconds"] == pytest.approx(0.35)
    assert log.speed()["images_per_second"] == pytest.approx(8 / 0.4)


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    log, output = make_log(tmp_path)
    train(log, (1, 2, 3, 4))
    lines = output.getvalue().strip().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  step 4/4  loss 3.5000  accuracy 0.7500")
    assert "images/s  0:00:00 left  validation accuracy 0.2500" in lines[1]
    assert "\x1b" not in output.getvalue()


def test_a_terminal_gets_a_progress_bar(tmp_path):
    log, output = make_log(tmp_path, force_terminal=True)
    train(log, (1, 2))
    assert "\x1b" in output.getvalue()
    assert "━" in output.getvalue()
    assert "epoch 1/2" in output.getvalue()


def test_a_resumed_run_replaces_the_future_it_repeats(tmp_path):
    log, _ = make_log(tmp_path)
    train(log, (1, 2, 3, 4))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "spl')  # Killed while writing.
    log, _ = make_log(tmp_path, start_step=2)
    train(log, (3, 4))
    assert [r["step"] for r in read_metrics(tmp_path)] == [2, 2, 4, 4]


def test_tensorboard_has_the_scalars(tmp_path):
    log, _ = make_log(tmp_path)
    train(log, (1, 2))
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, found = path.read_bytes(), {}
    while data:  # A length, its checksum, the event, its checksum.
        length = int.from_bytes(data[:8], "little")
        event = event_pb2.Event.FromString(data[12 : 12 + length])
        found |= {value.tag: value.simple_value for value in event.summary.value}
        data = data[16 + length :]
    assert found["train/loss"] == pytest.approx(1.5)
    assert found["validation/accuracy"] == pytest.approx(0.25)
    assert found["train/learning_rate"] == pytest.approx(0.1)
