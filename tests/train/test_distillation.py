"""Learning from a teacher: formulas, hints, and that a student does learn."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import errors, train


KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (16, 8, 8, 3))
LABELS = jnp.arange(16) % 4


class Net(nn.Module):
    """Two convolutions, as student or (wider) teacher."""

    features: int

    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.relu(nn.Conv(self.features, (3, 3), strides=2)(images))
        endpoints = {"stage1": x}
        x = nn.relu(nn.Conv(self.features, (3, 3))(x))
        return nn.Dense(4)(x.mean((1, 2))), endpoints


@pytest.fixture(scope="module")
def teacher():
    net = Net(8)
    variables = net.init(jax.random.key(1), IMAGES)
    return functools.partial(net.apply, jax.tree.map(lambda x: 3 * x, variables))


def test_soft_targets_are_hintons():
    student, answer = jax.random.normal(KEY, (2, 5, 4))
    found = train.soft_target_loss(student, answer, temperature=2.0)
    p, q = (
        np.exp(x / 2) / np.exp(x / 2).sum(1, keepdims=True) for x in (answer, student)
    )
    np.testing.assert_allclose(found, 4 * (p * np.log(p / q)).sum(1), rtol=1e-4)
    same = train.soft_target_loss(answer, answer, temperature=2.0)
    np.testing.assert_allclose(same, 0.0, atol=1e-6)


def test_soft_targets_keep_the_size_of_the_gradient():
    """At high temperatures it is that of logits' squares, whatever the temperature."""
    student, answer = jax.random.normal(KEY, (2, 5, 4))

    def gradient(temperature):
        return jax.grad(
            lambda x: train.soft_target_loss(x, answer, temperature=temperature).sum()
        )(student)

    chex.assert_trees_all_close(gradient(50.0), gradient(100.0), rtol=0.1, atol=0.01)


def test_hints():
    features = jnp.zeros((2, 3, 3, 4))
    np.testing.assert_allclose(train.hint_loss(features, features + 2.0), [2.0, 2.0])


def run(student, distillation, steps):
    """Returns the losses of some steps, and the last state."""
    tx = optax.adam(0.01)
    state = train.init_state(student, tx, KEY, IMAGES)
    step = functools.partial(train.train_step, student, tx, distillation=distillation)
    step, losses = jax.jit(step), []
    for _ in range(steps):
        batch = {"image": IMAGES, "label": LABELS}
        state, metrics = step(state, batch, KEY)
        losses.append(float(metrics["loss"]))
    return losses, state


def test_a_student_learns_the_answers(teacher):
    """Better than one that has the labels alone."""

    def distance(state):
        logits, _ = Net(4).apply({"params": state.params}, IMAGES)
        return float(train.soft_target_loss(logits, teacher(IMAGES)[0]).mean())

    _, alone = run(Net(4), None, 30)
    losses, taught = run(Net(4), train.Distillation(teacher, weight=10.0), 30)
    assert losses[-1] < losses[0]
    assert distance(taught) < 0.5 * distance(alone)


def test_hints_come_first_and_leave_the_head_alone(teacher):
    def head(params):
        return params["student"]["Dense_0"]

    features = teacher(IMAGES)[1]["stage1"].shape[1:]
    student = train.Hinted(Net(4), "stage1", features)
    distillation = train.Distillation(teacher, hint="stage1", hint_steps=20)
    start = train.init_state(student, optax.adam(0.01), KEY, IMAGES).params
    losses, state = run(student, distillation, 20)
    assert losses[-1] < 0.9 * losses[0]
    chex.assert_trees_all_equal(head(state.params), head(start))
    _, after = run(student, distillation, 21)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(head(after.params), head(start))


def test_regressors_bring_maps_to_the_teachers_size():
    student = train.Hinted(Net(4), "stage1", (2, 3, 6))
    (_, endpoints), variables = student.init_with_output(KEY, IMAGES)
    assert endpoints["hint"].shape == (16, 2, 3, 6)
    assert variables["params"]["regressor"]["kernel"].shape == (3, 2, 4, 6)


@pytest.mark.parametrize(
    "guided, features, message",
    [
        ("stage2", (4, 4, 8), "unknown endpoint 'stage2'; did you mean stage1"),
        ("stage1", (8, 4, 8), "maps of 4 x 4, smaller than the teacher's 8 x 4"),
    ],
)
def test_hints_that_cannot_be(guided, features, message):
    student = train.Hinted(Net(4), guided, features)
    with pytest.raises(errors.UserError, match=message):
        jax.eval_shape(student.init, KEY, IMAGES)
