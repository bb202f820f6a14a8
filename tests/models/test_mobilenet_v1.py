"""MobileNets, version 1: the paper's cost."""

import catalogue
import pytest


@pytest.mark.parametrize(
    ("name", "mega_macs"),
    [
        ("mobilenet_v1", 569),
        ("mobilenet_v1_0_75", 325),
        ("mobilenet_v1_0_5", 149),
        ("mobilenet_v1_0_25", 41),
    ],
)
def test_macs_are_those_of_table_6(name, mega_macs):
    assert round(catalogue.count(name)["macs"] / 1e6) == mega_macs
