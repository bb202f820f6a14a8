"""RegNets, as torchvision and timm call them."""

BLOCK = "trunk_output.block{s}.block{s}-{b:-1}"
TORCHVISION = {
    "stem": "stem.0",
    "stem_norm": "stem.1",
    "stage{s}_block{b}/Conv_0": BLOCK + ".f.a.0",
    "stage{s}_block{b}/Conv_1": BLOCK + ".f.b.0",
    "stage{s}_block{b}/Conv_2": BLOCK + ".f.c.0",
    "stage{s}_block{b}/BatchNorm_0": BLOCK + ".f.a.1",
    "stage{s}_block{b}/BatchNorm_1": BLOCK + ".f.b.1",
    "stage{s}_block{b}/BatchNorm_2": BLOCK + ".f.c.1",
    "stage{s}_block{b}/squeeze_excite/reduce": BLOCK + ".f.se.fc1",
    "stage{s}_block{b}/squeeze_excite/expand": BLOCK + ".f.se.fc2",
    "stage{s}_block{b}/conv_proj": BLOCK + ".proj.0",
    "stage{s}_block{b}/norm_proj": BLOCK + ".proj.1",
    "head": "fc",
}
TIMM = {
    "stem": "stem.conv",
    "stem_norm": "stem.bn",
    "stage{s}_block{b}/Conv_{i}": "s{s}.b{b}.conv{i:+1}.conv",
    "stage{s}_block{b}/BatchNorm_{i}": "s{s}.b{b}.conv{i:+1}.bn",
    "stage{s}_block{b}/squeeze_excite/reduce": "s{s}.b{b}.se.fc1",
    "stage{s}_block{b}/squeeze_excite/expand": "s{s}.b{b}.se.fc2",
    "stage{s}_block{b}/conv_proj": "s{s}.b{b}.downsample.conv",
    "stage{s}_block{b}/norm_proj": "s{s}.b{b}.downsample.bn",
    "head": "head.fc",
}
SOURCES = [lambda model: TORCHVISION, lambda model: TIMM]
