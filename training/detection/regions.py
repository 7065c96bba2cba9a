"""Features of regions: RoIAlign (He et al. 2017, "Mask R-CNN", arXiv 1703.06870, section 3)."""

import torch
from torch import Tensor

SAMPLES = 2  # per bin and axis: a bin is the mean of 4 bilinear samples


def align(features: Tensor, scene: Tensor, boxes: Tensor, size: int, stride: int) -> Tensor:
    """Return the features (n, channels, size, size) in boxes (n, 4) xyxy in pixels.

    `features` (scenes, channels, height, width) are feature maps with this stride, and `scene` (n,)
    is the index of the scene of each box. Equals RoiAlign of ONNX with mode avg, sampling_ratio
    SAMPLES and half_pixel coordinates.
    """
    scenes, channels, height, width = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(scenes * height * width, channels)
    steps = (torch.arange(size * SAMPLES, device=boxes.device) + 0.5) / (size * SAMPLES)
    x1, y1, x2, y2 = (boxes / stride - 0.5).unbind(dim=1)
    x = x1[:, None] + (x2 - x1)[:, None] * steps
    y = y1[:, None] + (y2 - y1)[:, None] * steps
    inside_x, left, right, across = _taps(x, width)
    inside_y, top, bottom, down = _taps(y, height)
    base = scene[:, None] * (height * width)
    top, bottom = base + top * width, base + bottom * width

    def at(row: Tensor, column: Tensor) -> Tensor:
        index = (row[:, :, None] + column[:, None, :]).flatten()
        return flat.index_select(0, index).view(*row.shape, column.shape[1], channels)

    across, down = across[:, None, :, None].to(flat.dtype), down[:, :, None, None].to(flat.dtype)
    upper = at(top, left) * (1 - across) + at(top, right) * across
    lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
    inside = (inside_y[:, :, None] & inside_x[:, None, :])[..., None]
    samples = (upper * (1 - down) + lower * down) * inside
    bins = samples.view(len(boxes), size, SAMPLES, size, SAMPLES, channels).mean(dim=(2, 4))
    return bins.permute(0, 3, 1, 2)


def _taps(place: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return for each position (n, k) whether it is inside, its two neighbouring cells, and the
    interpolation weight of the second."""
    inside = (place >= -1) & (place <= length)
    place = place.clamp(min=0)
    first = place.long().clamp(max=length - 1)
    second = (first + 1).clamp(max=length - 1)
    share = torch.where(first >= length - 1, 0.0, place - first)
    return inside, first, second, share


def squares(boxes: Tensor, scale: float) -> Tensor:
    """Return squares (n, 4) around the centres of boxes (n, 4), with `scale` times the longer
    side."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = scale / 2 * (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True)
    return torch.cat([centres - half, centres + half], dim=1)
