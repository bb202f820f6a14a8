"""ShuffleNets, version 2, as torchvision calls them."""

# The stages have the paper's numbers, from 2.
BLOCK = "stage{s:+1}.{b:-1}"
NAMES = {
    "stem": "conv1.0",
    "stem_norm": "conv1.1",
    "stage{s}_block{b}/shortcut_depthwise": BLOCK + ".branch1.0",
    "stage{s}_block{b}/shortcut_depthwise_norm": BLOCK + ".branch1.1",
    "stage{s}_block{b}/shortcut_pointwise": BLOCK + ".branch1.2",
    "stage{s}_block{b}/shortcut_pointwise_norm": BLOCK + ".branch1.3",
    "stage{s}_block{b}/reduce": BLOCK + ".branch2.0",
    "stage{s}_block{b}/reduce_norm": BLOCK + ".branch2.1",
    "stage{s}_block{b}/depthwise": BLOCK + ".branch2.3",
    "stage{s}_block{b}/depthwise_norm": BLOCK + ".branch2.4",
    "stage{s}_block{b}/expand": BLOCK + ".branch2.5",
    "stage{s}_block{b}/expand_norm": BLOCK + ".branch2.6",
    "last": "conv5.0",
    "last_norm": "conv5.1",
    "head": "fc",
}
SOURCES = [lambda model: NAMES]
