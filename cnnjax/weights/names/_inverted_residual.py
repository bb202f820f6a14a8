"""What timm calls networks of inverted residuals; the first stage expands nothing."""

_BLOCK = "blocks.{s:-1}.{b:-1}"

TIMM = {
    "stem": "conv_stem",
    "stem_norm": "bn1",
    "stage1_block{b}/depthwise": "blocks.0.{b:-1}.conv_dw",
    "stage1_block{b}/depthwise_norm": "blocks.0.{b:-1}.bn1",
    "stage1_block{b}/project": "blocks.0.{b:-1}.conv_pw",
    "stage1_block{b}/project_norm": "blocks.0.{b:-1}.bn2",
    "stage{s}_block{b}/expand": _BLOCK + ".conv_pw",
    "stage{s}_block{b}/expand_norm": _BLOCK + ".bn1",
    "stage{s}_block{b}/depthwise": _BLOCK + ".conv_dw",
    "stage{s}_block{b}/depthwise_norm": _BLOCK + ".bn2",
    "stage{s}_block{b}/squeeze_excite/reduce": _BLOCK + ".se.conv_reduce",
    "stage{s}_block{b}/squeeze_excite/expand": _BLOCK + ".se.conv_expand",
    "stage{s}_block{b}/project": _BLOCK + ".conv_pwl",
    "stage{s}_block{b}/project_norm": _BLOCK + ".bn3",
    "head_conv": "conv_head",
    "head_norm": "bn2",
    "head": "classifier",
}
