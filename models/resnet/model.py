"""Residual networks on images (He et al. 2015), with torchvision's parameter names, shapes and meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass

from troupe import Tensor, nn
from troupe import functional as F


@dataclass(frozen=True)
class Configuration:
    """bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3. blocks: of each group; a group has twice the
    width of the one before and half its image. small_images: a 3x3 stem that keeps the size (CIFAR) instead of a 7x7
    one and a pool that quarter it."""

    bottleneck: bool
    blocks: tuple[int, ...]
    classes: int = 1000
    width: int = 64
    small_images: bool = False


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the image's size but for the stride, without bias, normal with variance 2 / fan-out."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (outputs * kernel * kernel)))
    return layer


class Block(nn.Module):
    """x plus what the convolutions of the subclass make of it; where that has another shape, so has the shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        self.make_convolutions(inputs, width, stride)
        outputs = width * self.expansion
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def make_convolutions(self, inputs: int, width: int, stride: int) -> None:
        """Assigns the layers of `residual`."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """What is added to x."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        residual = self.residual(x)
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(Block):
    """Two 3x3 convolutions."""

    def make_convolutions(self, inputs: int, width: int, stride: int) -> None:
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Block):
    """A 3x3 convolution, with the stride, between 1x1 ones that reduce the width and give four times of it."""

    expansion = 4

    def make_convolutions(self, inputs: int, width: int, stride: int) -> None:
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)

    def residual(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(inner))


class ResNet(nn.Module):
    """Logits [batch, classes] of images [batch, 3, height, width]."""

    def __init__(self, configuration: Configuration):
        super().__init__()
        width, small = configuration.width, configuration.small_images
        self.small_images = small
        self.conv1 = conv(3, width, 3) if small else conv(3, width, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(width)
        self.groups = [f"layer{i + 1}" for i in range(len(configuration.blocks))]
        kind = Bottleneck if configuration.bottleneck else BasicBlock
        inputs = width
        for i, (name, count) in enumerate(zip(self.groups, configuration.blocks, strict=True)):
            blocks = []
            for index in range(count):
                blocks.append(kind(inputs, width << i, stride=2 if i > 0 and index == 0 else 1))
                inputs = (width << i) * kind.expansion
            setattr(self, name, nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, configuration.classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(images)))
        if not self.small_images:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        for name in self.groups:
            x = getattr(self, name)(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
