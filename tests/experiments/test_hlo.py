"""Programs in XLA's notation are read as they are meant."""

import hlo
import jax
import jax.numpy as jnp
import profile_model


def test_what_a_program_does():
    a, b = jnp.ones((3, 8, 16)), jnp.ones((3, 16, 4))
    text = jax.jit(lambda a, b: jnp.maximum(a + 1, 0) @ b).lower(a, b).compile()
    text = text.as_text()
    rows = hlo.entry(text)
    types = {row.name: row.type for row in rows}
    called = hlo.computations(text)
    flops = [profile_model.flops(row, types, called) for row in rows]
    product, before = 2 * 3 * 8 * 16 * 4, 2 * 3 * 8 * 16
    assert sum(flops) == product + before
    read = [flops[i] for i, row in enumerate(rows) if row.op == "parameter"]
    assert read == [0, 0]
    assert any(row.origin.endswith("dot_general") for row in rows)


def test_types():
    assert hlo.shapes("(f32[8,3]{1,0}, s32[])") == [(8, 3), ()]
    assert hlo.num_bytes("(bf16[8,3]{1,0}, f32[], pred[5]{0})") == 48 + 4 + 5
