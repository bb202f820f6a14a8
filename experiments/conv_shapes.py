"""Every convolution and pooling of the networks that `benchmark_ops.py` measures.

224x224 images; each network's table is spelled out from its paper's, so that what is
measured does not depend on what this library implements.
"""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Shape:
    """One convolution, or max pooling, of square images.

    Attributes:
      size: height and width of the input.
      channels, features: of input and output.
      kernel: height and width of the kernel.
      stride: of the convolution, or of the transposed one.
      groups: of the channels.
      dilation: of the kernel.
      transposed: whether it is a transposed convolution.
      pooling: whether it is no convolution, but max pooling.
      margin: the padding on every side; by default what keeps the size, or divides or
        multiplies it.
    """

    size: int
    channels: int
    features: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    transposed: bool = False
    pooling: bool = False
    margin: int | None = None

    @property
    def padding(self) -> int:
        """On every side."""
        if self.margin is not None:
            return self.margin
        if self.transposed:
            return (self.kernel - self.stride) // 2
        if self.kernel == self.stride:
            return 0
        return self.dilation * (self.kernel // 2)

    @property
    def kind(self) -> str:
        """The class of the benchmark's table that it belongs to."""
        if self.pooling:
            return "max pooling 3x3/2"
        if self.transposed:
            return "transposed"
        if self.groups == self.channels > 1:
            return "depthwise 3x3" if self.kernel == 3 else "depthwise 5x5, 7x7"
        if self.groups > 1:
            return "grouped"
        if self.kernel == 1:
            return "1x1 dense"
        if self.kernel == 3 and self.stride == self.dilation == 1:
            return "dense 3x3, stride 1"
        return "other"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, taps on padding included."""
        if self.pooling:
            return 0
        pixels = self.size if self.transposed else -(-self.size // self.stride)
        per_pixel = self.kernel**2 * (self.channels // self.groups) * self.features
        return pixels**2 * per_pixel

    def __str__(self) -> str:
        name = f"{self.kernel}x{self.kernel}/{self.stride}"
        name += f" {self.size}x{self.size} {self.channels}->{self.features}"
        name += f" groups {self.groups}" if self.groups > 1 else ""
        name += f" dilation {self.dilation}" if self.dilation > 1 else ""
        name += " max pooling" if self.pooling else ""
        return name + (" transposed" if self.transposed else "")


def max_pooling(size: int, channels: int, padding: int) -> Shape:
    """The 3x3 max pooling with stride 2 after a stem, or between stages."""
    return Shape(size, channels, channels, 3, 2, pooling=True, margin=padding)


def resnet50(base_width: int = 64, groups: int = 1) -> Iterator[Shape]:
    """ResNet-50 (He et al., 2015, Table 1); with groups, ResNeXt-50."""
    yield Shape(224, 3, 64, 7, 2)
    yield max_pooling(112, 64, 1)
    channels, size = 64, 56
    for i in range(4):
        width, out, stride = base_width * 2**i, 256 * 2**i, 1 if i == 0 else 2
        yield Shape(size, channels, width)
        yield Shape(size, width, width, 3, stride, groups)
        yield Shape(size, channels, out, 1, stride)
        channels, size = out, size // stride
        yield Shape(size, width, out)
        yield Shape(size, out, width)
        yield Shape(size, width, width, 3, 1, groups)


def resnext50() -> Iterator[Shape]:
    """ResNeXt-50 32x4d (Xie et al., 2016, Table 1)."""
    return resnet50(128, 32)


def vgg16() -> Iterator[Shape]:
    """VGG-16 (Simonyan and Zisserman, 2014, Table 1, column D)."""
    channels, size = 3, 224
    for features, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            yield Shape(size, channels, features, 3)
            channels = features
        size //= 2


def mobilenet_v1() -> Iterator[Shape]:
    """MobileNet (Howard et al., 2017, Table 1)."""
    yield Shape(224, 3, 32, 3, 2)
    channels, size = 32, 112
    features = (64, 128, 128, 256, 256, 512, *[512] * 5, 1024, 1024)
    strides = (1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1)
    for out, stride in zip(features, strides, strict=True):
        yield Shape(size, channels, channels, 3, stride, channels)
        size //= stride
        yield Shape(size, channels, out)
        channels = out


def inverted_residuals(rows, channels: int, size: int) -> Iterator[Shape]:
    """The blocks of MobileNetV2 and its heirs: (expansion, kernel, features, ...)."""
    for expansion, kernel, features, depth, stride in rows:
        for i in range(depth):
            wide, step = channels * expansion, stride if i == 0 else 1
            if expansion > 1:
                yield Shape(size, channels, wide)
            yield Shape(size, wide, wide, kernel, step, wide)
            size //= step
            yield Shape(size, wide, features)
            channels = features


def mobilenet_v2() -> Iterator[Shape]:
    """MobileNetV2 (Sandler et al., 2018, Table 2)."""
    yield Shape(224, 3, 32, 3, 2)
    rows = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 3, 32, 3, 2), (6, 3, 64, 4, 2)]
    rows += [(6, 3, 96, 3, 1), (6, 3, 160, 3, 2), (6, 3, 320, 1, 1)]
    yield from inverted_residuals(rows, 32, 112)
    yield Shape(7, 320, 1280)


def efficientnet_b0() -> Iterator[Shape]:
    """EfficientNet-B0 (Tan and Le, 2019, Table 1)."""
    yield Shape(224, 3, 32, 3, 2)
    rows = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2)]
    rows += [(6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1)]
    yield from inverted_residuals(rows, 32, 112)
    yield Shape(7, 320, 1280)


def shufflenet() -> Iterator[Shape]:
    """ShuffleNet, 3 and 8 groups (Zhang et al., 2017, Table 1)."""
    yield Shape(224, 3, 24, 3, 2)
    yield max_pooling(112, 24, 1)
    for groups, features in ((3, 240), (8, 384)):
        channels, size = 24, 56
        for _ in range(3):
            middle = features // 4
            yield Shape(size, channels, middle, 1, 1, 1 if channels == 24 else groups)
            yield Shape(size, middle, middle, 3, 2, middle)
            size //= 2
            yield Shape(size, middle, features - channels, 1, 1, groups)
            yield Shape(size, features, middle, 1, 1, groups)
            yield Shape(size, middle, middle, 3, 1, middle)
            yield Shape(size, middle, features, 1, 1, groups)
            channels, features = features, 2 * features


def squeezenet() -> Iterator[Shape]:
    """SqueezeNet 1.1 (Iandola et al., 2016, Table 1, and its later release)."""
    yield Shape(224, 3, 64, 3, 2)
    channels = 64
    for size, squeeze in zip(
        (56, 56, 28, 28, 14, 14, 14, 14), (16, 16, 32, 32, 48, 48, 64, 64), strict=True
    ):
        yield Shape(size, channels, squeeze)
        yield Shape(size, squeeze, 4 * squeeze)
        yield Shape(size, squeeze, 4 * squeeze, 3)
        channels = 8 * squeeze
    yield Shape(14, 512, 1000)
    for size, features in ((111, 64), (55, 128), (27, 256)):
        yield max_pooling(size, features, 0)


def densenet121() -> Iterator[Shape]:
    """DenseNet-121 (Huang et al., 2016, Table 1)."""
    yield Shape(224, 3, 64, 7, 2)
    channels, size = 64, 56
    for depth in (6, 12, 24, 16):
        for _ in range(depth):
            yield Shape(size, channels, 128)
            yield Shape(size, 128, 32, 3)
            channels += 32
        if size > 7:
            yield Shape(size, channels, channels // 2)
            channels, size = channels // 2, size // 2


def convnext_tiny() -> Iterator[Shape]:
    """ConvNeXt-T (Liu et al., 2022, Table 9)."""
    yield Shape(224, 3, 96, 4, 4)
    for size, channels in ((56, 96), (28, 192), (14, 384), (7, 768)):
        yield Shape(size, channels, channels, 7, 1, channels)
        yield Shape(size, channels, 4 * channels)
        yield Shape(size, 4 * channels, channels)
        if size > 7:
            yield Shape(size, channels, 2 * channels, 2, 2)


def fcn() -> Iterator[Shape]:
    """FCN's steps up (Long et al., 2014) and the dilated ResNet-50 beneath one."""
    yield Shape(28, 256, 256, 3, 1, 1, 2)
    yield Shape(28, 512, 512, 3, 1, 1, 4)
    yield Shape(28, 1024, 512)
    yield Shape(28, 2048, 512, 3)
    yield Shape(28, 512, 21)
    yield Shape(7, 21, 21, 4, 2, transposed=True)
    yield Shape(14, 21, 21, 4, 2, transposed=True)
    yield Shape(28, 21, 21, 16, 8, transposed=True)


def unet() -> Iterator[Shape]:
    """U-Net (Ronneberger et al., 2015, Figure 1), padded, for 224x224 images."""
    yield Shape(224, 3, 64, 3)
    for size, channels in ((224, 64), (112, 128), (56, 256), (28, 512)):
        yield Shape(size, channels, channels, 3)
        yield Shape(size // 2, channels, 2 * channels, 3)
        yield Shape(size // 2, 2 * channels, channels, 2, 2, transposed=True)
        yield Shape(size, 2 * channels, channels, 3)
    yield Shape(14, 1024, 1024, 3)
    yield Shape(224, 64, 2)


NETWORKS = {
    "resnet50": resnet50,
    "resnext50": resnext50,
    "vgg16": vgg16,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_b0": efficientnet_b0,
    "shufflenet": shufflenet,
    "squeezenet": squeezenet,
    "densenet121": densenet121,
    "convnext_tiny": convnext_tiny,
    "fcn": fcn,
    "unet": unet,
}
