"""Names: complete, sorted, and kind to typing mistakes."""

import flax.linen as nn
import pytest

import cnnjax
from cnnjax import errors, registry


def test_create_builds_the_variant_with_its_options():
    model = cnnjax.create("resnet56_cifar", num_classes=7)
    assert isinstance(model, nn.Module)
    assert model.depths == (9, 9, 9)
    assert model.num_classes == 7


def test_list_models_is_sorted_and_filters():
    names = cnnjax.list_models()
    assert names == sorted(names)
    assert cnnjax.list_models("plain11*") == ["plain110_cifar"]
    assert cnnjax.list_models("plain1?") == ["plain18"]
    assert cnnjax.list_models("nothing*") == []


def test_unknown_name_suggests_the_near_ones():
    with pytest.raises(errors.UserError, match=r"did you mean.* resnet20_cifar"):
        cnnjax.create("resnet-20-cifar")


def test_unlike_any_name_lists_some():
    with pytest.raises(errors.UserError, match="there are alexnet"):
        cnnjax.create("12345")


def test_unknown_option_is_an_error():
    with pytest.raises(TypeError, match="num_clases"):
        cnnjax.create("resnet20_cifar", num_clases=3)


def test_families_do_not_share_names(monkeypatch):
    registry._variants.cache_clear()
    monkeypatch.setattr(registry, "FAMILIES", registry.FAMILIES * 2)
    with pytest.raises(ValueError, match="redefines"):
        registry._variants()
    registry._variants.cache_clear()
