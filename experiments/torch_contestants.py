"""Networks that train in PyTorch, for `benchmark_train.py` and `time_to_accuracy.py`.

Torchvision's, and ResNet-20 for CIFAR, which it has not: He et al., 2015, section 4.2,
with projections. The names are those that `cnnjax.weights.to_torch` gives.
"""

import importlib
import os
from collections import OrderedDict
from typing import Any

import numpy as np
from timing import Run, torch, torch_device


nn: Any = torch.nn
# No chance: neither dropout nor stochastic depth.
OPTIONS = {"mobilenet_v2": {"dropout": 0.0}}
OPTIONS |= {"convnext_tiny": {"stochastic_depth_prob": 0.0}}


def create(name: str) -> Any:
    """Returns a network by its name in cnnjax."""
    if name == "resnet20_cifar":
        return CifarResNet(3)
    models = importlib.import_module("torchvision.models")
    return models.get_model(name, weights=None, **OPTIONS.get(name, {}))


def step_of(
    name: str,
    weights: dict[str, np.ndarray],
    batch: dict[str, np.ndarray],
    *,
    learning_rate: float,
    momentum: float,
) -> Run:
    """Returns a function that does one update and returns the loss before it.

    Channels are last in memory.

    Args:
      name: of the network, in cnnjax.
      weights: as `cnnjax.weights.to_torch` returns.
      batch: "image" [n, h, w, c] and "label": classes [n].
      learning_rate, momentum: of stochastic gradient descent.
    """
    model = load(create(name), weights)
    x = channels_last(batch["image"])
    y = torch.from_numpy(batch["label"]).to(torch_device())
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)

    def run():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def load(model: Any, weights: dict[str, np.ndarray]) -> Any:
    """Returns the model with these weights, to train with channels last.

    Args:
      model: as `create` returns it.
      weights: as `cnnjax.weights.to_torch` returns.
    """
    torch.set_num_threads(os.cpu_count())  # As many as XLA has.
    state = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    model.load_state_dict(state)
    return model.to(torch_device(), memory_format=torch.channels_last).train()


def channels_last(images: np.ndarray) -> Any:
    """Returns images [n, h, w, c] as PyTorch has them."""
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    return x.to(torch_device(), memory_format=torch.channels_last)


def conv_norm(channels: int, features: int, kernel_size: int, stride: int) -> Any:
    """Returns a convolution that keeps the size at stride 1, and its BatchNorm."""
    conv = nn.Conv2d(
        channels, features, kernel_size, stride, kernel_size // 2, bias=False
    )
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(features)))


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, projected where the shape changes."""

    def __init__(self, channels: int, features: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                conv1=conv_norm(channels, features, 3, stride),
                act=nn.ReLU(inplace=True),
                conv2=conv_norm(features, features, 3, 1),
            )
        )
        if channels != features:
            self.identity_conv = conv_norm(channels, features, 1, stride)
        else:
            self.identity_conv = nn.Identity()

    def forward(self, x: Any) -> Any:
        """Takes and returns [n, c, h, w]."""
        return nn.functional.relu(self.body(x) + self.identity_conv(x), inplace=True)


class CifarResNet(nn.Module):
    """Three stages of 16, 32 and 64 channels, of `depth` blocks each."""

    def __init__(self, depth: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        stages = OrderedDict(init_block=conv_norm(in_channels, 16, 3, 1))
        stages["act"] = nn.ReLU(inplace=True)
        channels = 16
        for stage in (1, 2, 3):
            units = OrderedDict()
            for unit in range(1, depth + 1):
                features = 16 * 2 ** (stage - 1)
                stride = features // channels
                units[f"unit{unit}"] = CifarBlock(channels, features, stride)
                channels = features
            stages[f"stage{stage}"] = nn.Sequential(units)
        self.features = nn.Sequential(stages)
        self.output = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Takes images [n, 3, h, w]; returns logits [n, num_classes]."""
        return self.output(self.features(x).mean((2, 3)))
