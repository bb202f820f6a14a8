"""What torchvision calls a ResNet and the feature pyramid on it."""

from cnnjax.weights.names import resnet


NAMES = {
    f"backbone/{ours}": f"backbone.body.{theirs}"
    for ours, theirs in resnet.NAMES.items()
    if ours != "head"
} | {
    "fpn/lateral{k}": "backbone.fpn.inner_blocks.{k}.0",
    "fpn/smooth{k}": "backbone.fpn.layer_blocks.{k}.0",
}
EXTRA = {"p{k}": "backbone.fpn.extra_blocks.p{k}"}
