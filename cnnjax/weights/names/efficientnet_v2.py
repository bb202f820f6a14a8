"""EfficientNetV2, as torchvision and timm call it: the first three stages are fused."""

from cnnjax.weights.names import _inverted_residual, efficientnet


def torchvision(model):
    """The last convolution follows six stages or seven."""
    last = f"features.{len(model.stages) + 1}"
    return (
        {
            "stage{s}_block{b}/fused": efficientnet.BLOCK + ".0.0",
            "stage{s}_block{b}/fused_norm": efficientnet.BLOCK + ".0.1",
        }
        | {
            f"stage{s}_block{{b}}/project{norm}": f"features.{s}.{{b:-1}}.block.1.{i}"
            for s in (2, 3)
            for i, norm in enumerate(("", "_norm"))
        }
        | efficientnet.NAMES
        | {"head_conv": f"{last}.0", "head_norm": f"{last}.1"}
    )


TIMM = {
    "stage1_block{b}/fused": "blocks.0.{b:-1}.conv",
    "stage{s}_block{b}/fused": "blocks.{s:-1}.{b:-1}.conv_exp",
    "stage{s}_block{b}/fused_norm": "blocks.{s:-1}.{b:-1}.bn1",
    "stage2_block{b}/project_norm": "blocks.1.{b:-1}.bn2",
    "stage3_block{b}/project_norm": "blocks.2.{b:-1}.bn2",
    **_inverted_residual.TIMM,
}
SOURCES = [torchvision, lambda model: TIMM]
