"""SSD, as torchvision calls it; poolings and activations have numbers."""

_FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
_NAMES = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3")
NAMES = {
    f"conv{name}": f"backbone.features.{k}"
    for name, k in zip(_NAMES, _FEATURES, strict=True)
} | {
    "scale": "backbone.scale_weight",
    "conv5_1": "backbone.extra.0.1",
    "conv5_2": "backbone.extra.0.3",
    "conv5_3": "backbone.extra.0.5",
    "conv6": "backbone.extra.0.7.1",
    "conv7": "backbone.extra.0.7.3",
    "conv{k}_1": "backbone.extra.{k:-7}.0",
    "conv{k}_2": "backbone.extra.{k:-7}.2",
    "head_{k}": "head.classification_head.module_list.{k}",
    "box_head_{k}": "head.regression_head.module_list.{k}",
}
SOURCES = [lambda model: NAMES]
