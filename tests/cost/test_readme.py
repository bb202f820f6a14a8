"""The README's examples of costs do what they say."""

import re
from pathlib import Path

import chex
import jax
import jax.numpy as jnp

import cnnjax


def test_examples(capsys):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.partition("## Cost\n")[2].partition("\n## ")[0]
    names = {"chex": chex, "cnnjax": cnnjax, "jax": jax, "jnp": jnp}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(block, names)
    names["test_my_model"]()
    shown = capsys.readouterr().out
    assert "stage4_block1" in shown and "resnet" in shown.lower()
