"""NIN, as pytorchcv calls its layers."""

NAMES = {
    "stage{s}_block1/Conv_{i}": "features.stage{s}.unit{i:+1}.conv",
    "head": "output.final_conv.conv",
}
SOURCES = [lambda model: NAMES]
