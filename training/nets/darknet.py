"""PyTorch networks from the .cfg and .weights files of Darknet.

The supported layers are `convolutional`, `maxpool`, `route`, `shortcut`, `upsample` and `yolo`, as
in the source of Darknet (github.com/pjreddie/darknet, src/parser.c). YOLOv3 and YOLOv3-tiny consist
of these layers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.nets.darknet_cfg import DarknetError, Section, parse

NORM_EPSILON = 1e-6  # Darknet adds it to the standard deviation, not to the variance
ACTIVATIONS = ("linear", "leaky", "relu")
LEAKY_SLOPE = 0.1


@dataclass(frozen=True)
class Head:
    """A yolo layer: stride, anchors as (width, height) in pixels, and number of classes."""

    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int


class DarknetNet(nn.Module):
    """Outputs (n, rows, 5 + classes) for images (n, 3, height, width), BGR, float, values 0–255.

    The rows are ordered by `heads`, then by cell in row order, then by anchor. A row consists of
    t_x, t_y, t_w, t_h, the objectness logit and the class logits, without an activation function.
    Raises DarknetError for unknown layers.
    """

    def __init__(self, sections: list[Section]) -> None:
        super().__init__()
        if sections[0].integer("channels", 3) != 3:
            raise DarknetError("[net] channels must be 3")
        self.size = sections[0].integer("width", at_least=1)
        if sections[0].integer("height") != self.size:
            raise DarknetError("[net] width and height must be equal")
        self._sections = sections[1:]
        self._sources: dict[int, tuple[int, ...]] = {}  # inputs of route and shortcut layers
        self.layers = nn.ModuleList()
        self.heads: list[Head] = []
        channels, strides = [3], [1]
        for index, section in enumerate(self._sections):
            layer, width, stride = self._layer(section, index, channels, strides)
            self.layers.append(layer)
            channels.append(width)
            strides.append(stride)
        if not self.heads:
            raise DarknetError("there is no [yolo] section")
        if len({head.classes for head in self.heads}) > 1:
            raise DarknetError("all [yolo] sections must have the same classes")

    @property
    def classes(self) -> int:
        return self.heads[0].classes

    def _layer(
        self, section: Section, index: int, channels: list[int], strides: list[int]
    ) -> tuple[nn.Module, int, int]:
        """Return a layer, its number of channels and its stride. `channels` and `strides` are those
        of the input and of all previous layers."""
        width, stride = channels[-1], strides[-1]
        if section.name == "convolutional":
            layer = _convolution(section, width)
            return layer, layer[0].out_channels, stride * layer[0].stride[0]
        if section.name == "maxpool":
            step = section.integer("stride", 1, at_least=1)
            size = section.integer("size", step, at_least=1)
            return _MaxPool(size, step), width, stride * step
        if section.name == "upsample":
            factor = section.integer("stride", 2, at_least=1)
            if stride % factor:
                raise DarknetError("[upsample] gives a map that is larger than the image")
            return nn.Upsample(scale_factor=factor, mode="nearest"), width, stride // factor
        if section.name == "route":
            if section.integer("groups", 1) != 1:
                raise DarknetError("[route] groups is not supported")
            sources = [_absolute(each, index) for each in section.integers("layers")]
            if len({strides[each + 1] for each in sources}) > 1:
                raise DarknetError("[route] must join layers of equal size")
            self._sources[index] = tuple(sources)
            return nn.Identity(), sum(channels[s + 1] for s in sources), strides[sources[0] + 1]
        if section.name == "shortcut":
            if section.settings.get("activation", "linear") != "linear":
                raise DarknetError("[shortcut] activation must be linear")
            source, *others = (_absolute(each, index) for each in section.integers("from"))
            self._sources[index] = (index - 1, source)
            if others or (channels[source + 1], strides[source + 1]) != (width, stride):
                raise DarknetError("[shortcut] must join two layers of equal size and filters")
            return nn.Identity(), width, stride
        if section.name == "yolo":
            self._head(section, width, stride)
            return nn.Identity(), width, stride
        raise DarknetError(f"[{section.name}] is not supported")

    def _head(self, section: Section, width: int, stride: int) -> None:
        scale = section.numbers("scale_x_y") if "scale_x_y" in section.settings else [1.0]
        if scale != [1.0] or section.integer("new_coords", 0):
            raise DarknetError("[yolo] scale_x_y and new_coords are not supported")
        flat = section.numbers("anchors")
        mask = section.integers("mask")
        if len(flat) % 2 or not all(0 <= each < len(flat) // 2 for each in mask):
            raise DarknetError("[yolo] mask must contain indices of anchors")
        classes = section.integer("classes", at_least=1)
        if width != len(mask) * (5 + classes):
            raise DarknetError(
                f"the convolution before [yolo] has {width} filters; it must have "
                f"{len(mask)} × (5 + {classes})"
            )
        anchors = tuple((flat[2 * each], flat[2 * each + 1]) for each in mask)
        self.heads.append(Head(stride, anchors, classes))

    def forward(self, images: Tensor) -> Tensor:
        x = images.flip(1) / 255  # Darknet expects RGB
        layer_outputs: list[Tensor] = []
        outputs: list[Tensor] = []
        for index, (section, layer) in enumerate(zip(self._sections, self.layers, strict=True)):
            if section.name == "route":
                x = torch.cat([layer_outputs[each] for each in self._sources[index]], dim=1)
            elif section.name == "shortcut":
                first, second = (layer_outputs[each] for each in self._sources[index])
                x = first + second
            else:
                x = layer(x)
            if section.name == "yolo":
                anchors = len(self.heads[len(outputs)].anchors)
                outputs.append(x.unflatten(1, (anchors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3))
            layer_outputs.append(x)
        return torch.cat(outputs, dim=1)

    def load_weights(self, data: bytes) -> None:
        """Load a .weights file. Raises DarknetError if it belongs to another network."""
        numbers = _numbers(data)
        position = 0

        def take(target: Tensor) -> None:
            nonlocal position
            part = numbers[position : position + target.numel()]
            if len(part) < target.numel():
                raise DarknetError(
                    f"the weights file has only {len(numbers):,} numbers; the network has more"
                )
            target.copy_(torch.from_numpy(part.copy()).view_as(target))
            position += target.numel()

        with torch.no_grad():
            for layer in self.layers:
                if isinstance(layer, nn.Sequential):
                    _load_convolution(layer, take)
        if position != len(numbers):
            raise DarknetError(
                f"the weights file has {len(numbers):,} numbers; the network has {position:,}"
            )


class _MaxPool(nn.Module):
    """Max pooling with the padding of Darknet: a map of n cells becomes n / stride."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        if self.stride > 1 and self.size == self.stride:
            before = after = 0
        padded = F.pad(x, (before, after, before, after), value=float("-inf"))
        return F.max_pool2d(padded, self.size, self.stride)


def _absolute(reference: int, index: int) -> int:
    """Return the index of a referenced layer. A negative reference is relative to `index`."""
    layer = reference if reference >= 0 else index + reference
    if not 0 <= layer < index:
        raise DarknetError(f"layer {index} refers to layer {layer}")
    return layer


def _convolution(section: Section, channels: int) -> nn.Sequential:
    size = section.integer("size", 1, at_least=1)
    activation = section.settings.get("activation", "logistic")
    if activation not in ACTIVATIONS:
        raise DarknetError(f"[convolutional] activation {activation} is not supported")
    if section.integer("groups", 1) != 1 or section.integer("dilation", 1) != 1:
        raise DarknetError("[convolutional] groups and dilation must be 1")
    normalised = bool(section.integer("batch_normalize", 0))
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    conv = nn.Conv2d(
        channels,
        section.integer("filters", 1, at_least=1),
        size,
        section.integer("stride", 1, at_least=1),
        padding,
        bias=not normalised,
    )
    layers: list[nn.Module] = [conv]
    if normalised:
        layers.append(nn.BatchNorm2d(conv.out_channels, eps=0.0))
    if activation == "leaky":
        layers.append(nn.LeakyReLU(LEAKY_SLOPE))
    elif activation == "relu":
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _load_convolution(layer: nn.Sequential, take: Callable[[Tensor], None]) -> None:
    """Load a layer in the order of Darknet: bias, scale, mean and variance of the normalisation,
    then the weights."""
    conv = layer[0]
    norm = layer[1] if len(layer) > 1 and isinstance(layer[1], nn.BatchNorm2d) else None
    if norm is None:
        take(conv.bias)
    else:
        take(norm.bias)
        take(norm.weight)
        take(norm.running_mean)
        take(norm.running_var)
        norm.running_var.copy_((norm.running_var.clamp(min=0).sqrt() + NORM_EPSILON) ** 2)
    take(conv.weight)


def _numbers(data: bytes) -> NDArray[np.float32]:
    """Return the 32-bit floats after the header. The header has three integers for the version and
    the number of training images, which has 64 bits since version 0.2."""
    if len(data) < 16:
        raise DarknetError("the weights file is too short for a header")
    major, minor, _ = np.frombuffer(data, "<i4", 3).tolist()
    start = 20 if major * 10 + minor >= 2 else 16
    if (len(data) - start) % 4:
        raise DarknetError("the size of the weights file is not a multiple of 32-bit floats")
    numbers = np.frombuffer(data, "<f4", offset=start)
    if not np.isfinite(numbers).all():
        raise DarknetError("the weights file contains NaN or infinity")
    return numbers


def read_net(cfg: Path, weights: Path) -> DarknetNet:
    """Read a network from its .cfg and .weights files, in evaluation mode. Raises DarknetError."""
    try:
        text, data = cfg.read_text("utf-8", errors="replace"), weights.read_bytes()
    except OSError as error:
        raise DarknetError(f"{error.filename}: {error.strerror}") from error
    net = DarknetNet(parse(text))
    net.load_weights(data)
    return net.eval()
