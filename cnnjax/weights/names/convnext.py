"""ConvNeXt, as torchvision, timm and the authors call its parameters."""


def torchvision(model):
    table = {
        "stem": "features.0.0",
        "stem_norm": "features.0.1",
        "head_norm": "classifier.0",
        "head": "classifier.2",
    }
    for stage in range(1, len(model.depths) + 1):
        ours, theirs = f"stage{stage}_block{{b}}", f"features.{2 * stage - 1}.{{b:-1}}"
        table |= {
            f"{ours}/Conv_0": f"{theirs}.block.0",
            f"{ours}/LayerNorm_0": f"{theirs}.block.2",
            f"{ours}/Mlp_0/Dense_0": f"{theirs}.block.3",
            f"{ours}/Mlp_0/Dense_1": f"{theirs}.block.5",
            f"{ours}/LayerScale_0/scale": (f"{theirs}.layer_scale", (-1, 1, 1)),
            f"stage{stage}_downsample_norm": f"features.{2 * stage - 2}.0",
            f"stage{stage}_downsample": f"features.{2 * stage - 2}.1",
        }
    return table


BLOCK = "stages.{s:-1}.blocks.{b:-1}"
TIMM = {
    "stem": "stem.0",
    "stem_norm": "stem.1",
    "stage{s}_block{b}/Conv_0": BLOCK + ".conv_dw",
    "stage{s}_block{b}/LayerNorm_0": BLOCK + ".norm",
    "stage{s}_block{b}/Mlp_0/Dense_{i}": BLOCK + ".mlp.fc{i:+1}",
    "stage{s}_block{b}/LayerScale_0/scale": BLOCK + ".gamma",
    "stage{s}_downsample_norm": "stages.{s:-1}.downsample.0",
    "stage{s}_downsample": "stages.{s:-1}.downsample.1",
    "head_norm": "head.norm",
    "head": "head.fc",
}
AUTHORS = {
    "stem": "downsample_layers.0.0",
    "stem_norm": "downsample_layers.0.1",
    "stage{s}_block{b}/Conv_0": "stages.{s:-1}.{b:-1}.dwconv",
    "stage{s}_block{b}/LayerNorm_0": "stages.{s:-1}.{b:-1}.norm",
    "stage{s}_block{b}/Mlp_0/Dense_{i}": "stages.{s:-1}.{b:-1}.pwconv{i:+1}",
    "stage{s}_block{b}/LayerScale_0/scale": "stages.{s:-1}.{b:-1}.gamma",
    "stage{s}_downsample_norm": "downsample_layers.{s:-1}.0",
    "stage{s}_downsample": "downsample_layers.{s:-1}.1",
    "head_norm": "norm",
    "head": "head",
}
SOURCES = [torchvision, lambda model: TIMM, lambda model: AUTHORS]
