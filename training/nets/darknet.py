"""Networks that a Darknet .cfg describes, with the weights of a .weights file.

Layers as in Darknet's source (github.com/pjreddie/darknet, src/parser.c): `convolutional`,
`maxpool`, `route`, `shortcut`, `upsample` and `yolo`. That covers YOLOv3-tiny and YOLOv3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

NORM_EPSILON = 1e-6  # Darknet adds it to the deviation, not to the variance
ACTIVATIONS = ("linear", "leaky", "relu")
LEAK = 0.1


class DarknetError(Exception):
    """A .cfg or .weights file that cannot be used; the message says why."""


@dataclass(frozen=True)
class Section:
    """One section of a .cfg: its name and its settings."""

    name: str
    settings: dict[str, str]

    def integer(self, key: str, default: int | None = None) -> int:
        """Raises DarknetError where the setting is missing or not a whole number."""
        value = self.settings.get(key, default)
        if value is None:
            raise DarknetError(f"[{self.name}] has no {key}")
        try:
            return int(value)
        except ValueError as error:
            raise DarknetError(
                f"[{self.name}] {key} must be a whole number, got {value}"
            ) from error

    def numbers(self, key: str) -> list[float]:
        """Raises DarknetError where the setting is missing or not a list of numbers."""
        try:
            return [float(each) for each in self.settings[key].split(",") if each.strip()]
        except (KeyError, ValueError) as error:
            raise DarknetError(f"[{self.name}] needs {key}, numbers with commas") from error


def parse(text: str) -> list[Section]:
    """The sections of a .cfg. Raises DarknetError."""
    sections: list[Section] = []
    lines = (line.split("#", 1)[0].split(";", 1)[0].strip() for line in text.splitlines())
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1], {}))
        elif "=" in line and sections:
            key, value = line.split("=", 1)
            sections[-1].settings[key.strip()] = value.strip()
        else:
            raise DarknetError(f"line {number} is neither a section nor a setting")
    if not sections or sections[0].name not in ("net", "network"):
        raise DarknetError("the first section must be [net]")
    return sections


@dataclass(frozen=True)
class Head:
    """A yolo layer: its stride, and its anchors as widths and heights in pixels."""

    stride: int
    anchors: tuple[tuple[float, float], ...]
    classes: int


class DarknetNet(nn.Module):
    """Answers (n, rows, 5 + classes) of images (n, 3, height, width) with raw values 0–255, BGR,
    float.

    Rows are ordered by `heads`, then by cell row by row, then by anchor. A row holds t_x, t_y, t_w,
    t_h, the logit of objectness and the logits of the classes, as the last convolution returns
    them. Raises DarknetError for layers that are not known.
    """

    def __init__(self, sections: list[Section]) -> None:
        super().__init__()
        if sections[0].integer("channels", 3) != 3:
            raise DarknetError("[net] channels must be 3")
        self.size = sections[0].integer("width")
        if sections[0].integer("height") != self.size:
            raise DarknetError("[net] width and height must be equal")
        self._sections = sections[1:]
        self._kept: list[tuple[int, ...]] = []
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
        """The layer with its number of channels and its stride. `channels` and `strides` are those
        of the input and of all layers before this one."""
        width, stride = channels[-1], strides[-1]
        if section.name == "convolutional":
            layer = _convolution(section, width)
            return layer, layer[0].out_channels, stride * layer[0].stride[0]
        if section.name == "maxpool":
            step = section.integer("stride", 1)
            return _MaxPool(section.integer("size", step), step), width, stride * step
        if section.name == "upsample":
            factor = section.integer("stride", 2)
            if stride % factor:
                raise DarknetError("[upsample] would make a map finer than the image")
            return nn.Upsample(scale_factor=factor, mode="nearest"), width, stride // factor
        if section.name == "route":
            if section.integer("groups", 1) != 1:
                raise DarknetError("[route] groups is not supported")
            sources = [_absolute(each, index) for each in section.numbers("layers")]
            self._sources(index, sources)
            return nn.Identity(), sum(channels[s + 1] for s in sources), strides[sources[0] + 1]
        if section.name == "shortcut":
            if section.settings.get("activation", "linear") != "linear":
                raise DarknetError("[shortcut] activation must be linear")
            (source,) = (_absolute(each, index) for each in section.numbers("from"))
            self._sources(index, [index - 1, source])
            if channels[source + 1] != width:
                raise DarknetError("[shortcut] must join layers of equal width")
            return nn.Identity(), width, stride
        if section.name == "yolo":
            self._head(section, width, stride)
            return nn.Identity(), width, stride
        raise DarknetError(f"[{section.name}] is not supported")

    def _sources(self, index: int, sources: list[int]) -> None:
        self._kept.append((index, *sources))

    def _head(self, section: Section, width: int, stride: int) -> None:
        if float(section.settings.get("scale_x_y", 1)) != 1 or section.integer("new_coords", 0):
            raise DarknetError("[yolo] scale_x_y and new_coords are not supported")
        flat = section.numbers("anchors")
        mask = [int(each) for each in section.numbers("mask")]
        if len(flat) % 2 or not mask or not all(0 <= each < len(flat) // 2 for each in mask):
            raise DarknetError("[yolo] mask must name pairs of anchors")
        classes = section.integer("classes")
        if width != len(mask) * (5 + classes):
            raise DarknetError(
                f"the convolution before [yolo] has {width} filters; it must have "
                f"{len(mask)} × (5 + {classes})"
            )
        anchors = tuple((flat[2 * each], flat[2 * each + 1]) for each in mask)
        self.heads.append(Head(stride, anchors, classes))

    def forward(self, images: Tensor) -> Tensor:
        x = images.flip(1) / 255  # Darknet reads red first
        sources = {index: others for index, *others in self._kept}
        outputs: list[Tensor] = []
        answers: list[Tensor] = []
        for index, (section, layer) in enumerate(zip(self._sections, self.layers, strict=True)):
            if section.name == "route":
                x = torch.cat([outputs[each] for each in sources[index]], dim=1)
            elif section.name == "shortcut":
                first, second = (outputs[each] for each in sources[index])
                x = first + second
            else:
                x = layer(x)
            if section.name == "yolo":
                anchors = len(self.heads[len(answers)].anchors)
                answers.append(x.unflatten(1, (anchors, -1)).permute(0, 3, 4, 1, 2).flatten(1, 3))
            outputs.append(x)
        return torch.cat(answers, dim=1)

    def load_weights(self, data: bytes) -> None:
        """Read a .weights file. Raises DarknetError where it does not belong to this network."""
        numbers = _numbers(data)
        place = 0

        def take(target: Tensor) -> None:
            nonlocal place
            part = numbers[place : place + target.numel()]
            if len(part) < target.numel():
                raise DarknetError(
                    f"the weights end after {len(numbers):,} numbers; the network has more"
                )
            target.copy_(torch.from_numpy(part.copy()).view_as(target))
            place += target.numel()

        with torch.no_grad():
            for layer in self.layers:
                if isinstance(layer, nn.Sequential):
                    _load_convolution(layer, take)
        if place != len(numbers):
            raise DarknetError(
                f"the weights hold {len(numbers):,} numbers; the network takes {place:,}"
            )


class _MaxPool(nn.Module):
    """Darknet pads at the right and bottom, so that a map of n cells becomes n / stride."""

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


def _absolute(place: float, index: int) -> int:
    """The layer that a section refers to, counted from the present one where it is negative."""
    layer = int(place) if place >= 0 else index + int(place)
    if not 0 <= layer < index:
        raise DarknetError(f"layer {index} refers to layer {layer}")
    return layer


def _convolution(section: Section, channels: int) -> nn.Sequential:
    size = section.integer("size", 1)
    activation = section.settings.get("activation", "logistic")
    if activation not in ACTIVATIONS:
        raise DarknetError(f"[convolutional] activation {activation} is not supported")
    if section.integer("groups", 1) != 1 or section.integer("dilation", 1) != 1:
        raise DarknetError("[convolutional] groups and dilation must be 1")
    normalised = bool(section.integer("batch_normalize", 0))
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    conv = nn.Conv2d(
        channels,
        section.integer("filters", 1),
        size,
        section.integer("stride", 1),
        padding,
        bias=not normalised,
    )
    layers: list[nn.Module] = [conv]
    if normalised:
        layers.append(nn.BatchNorm2d(conv.out_channels, eps=0.0))
    if activation == "leaky":
        layers.append(nn.LeakyReLU(LEAK))
    elif activation == "relu":
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _load_convolution(layer: nn.Sequential, take: Callable[[Tensor], None]) -> None:
    """Darknet's order: bias, scale, mean and variance of the normalisation, then the weights."""
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
    """The 32-bit floats behind the header: three integers and the number of images seen, which has
    64 bits from version 0.2 on."""
    if len(data) < 16:
        raise DarknetError("the weights file is too short for a header")
    major, minor, _ = np.frombuffer(data, "<i4", 3).tolist()
    start = 20 if major * 10 + minor >= 2 else 16
    if (len(data) - start) % 4:
        raise DarknetError("the weights file does not hold whole 32-bit floats")
    numbers = np.frombuffer(data, "<f4", offset=start)
    if not np.isfinite(numbers).all():
        raise DarknetError("the weights hold NaN or infinity")
    return numbers


def read_net(cfg: Path, weights: Path) -> DarknetNet:
    """The network of a .cfg with the weights of a .weights file, in evaluation mode. Raises
    DarknetError."""
    try:
        text, data = cfg.read_text("utf-8", errors="replace"), weights.read_bytes()
    except OSError as error:
        raise DarknetError(f"{error.filename}: {error.strerror}") from error
    net = DarknetNet(parse(text))
    net.load_weights(data)
    return net.eval()
