"""ResNets for large images, as torchvision (and everybody) calls them."""

BLOCK = "layer{s}.{b:-1}"
NAMES = {
    "stem": "conv1",
    "stem_norm": "bn1",
    "stage{s}_block{b}/Conv_{i}": BLOCK + ".conv{i:+1}",
    "stage{s}_block{b}/Conv_{i}/offset": BLOCK + ".conv{i:+1}_offset",
    "stage{s}_block{b}/BatchNorm_{i}": BLOCK + ".bn{i:+1}",
    "stage{s}_block{b}/conv_proj": BLOCK + ".downsample.0",
    "stage{s}_block{b}/norm_proj": BLOCK + ".downsample.1",
    "head": "fc",
}
SOURCES = [lambda model: NAMES]
