"""Composes batches of training scenes on the GPU.

A batch contains scenes of photographs (one view, or a mosaic of four), and then sheets: grids of
faces, which are used for the expression loss. `Composer.batch` samples images and views, renders
them, corrupts the pixels, and maps the boxes to the scenes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.scene_pack import ScenePack
from training.detection.corruption import corrupt
from training.detection.heads import Batch
from training.detection.losses import GroundTruth
from training.detection.pack_tables import PackTables
from training.detection.pixels import Pixels, Views, render

MAX_SCENE_FACES = 48
MOSAIC_SHARE = 0.75
FACE_SIDES, SCALES = (12.0, 300.0), (0.25, 4.0)  # ranges of face sizes in scenes, and of scales
WHOLE_SHARE = 0.35  # share of the views that show the whole image, as in the service
ROTATED_SHARE, MAX_ANGLE = 0.3, math.radians(20)
SHEET_MAX_ANGLE = math.radians(30)
SHEET_COLUMNS = (2, 3, 4, 5, 6)
MIN_VISIBLE = 0.5  # a face with a smaller share of its box inside its tile is not sure
MIN_EXPRESSION_VISIBLE = 0.75  # with less, the expression is not used
MIN_SURE_SIDE, MIN_EXPRESSION_SIDE = 8.0, 24.0  # in pixels
OCCLUDED_SHARE = 0.3  # share of the scenes with a face in which a face is partly covered
RENDER_BATCH = 32  # scenes
SKIN = (0.72, 0.92, 1.18)  # gains of blue, green and red that colour a grey face


class Composer:
    """Composes batches from a pack whose pixels are on `device`."""

    def __init__(self, pack: ScenePack, pixels: Pixels, device: torch.device, seed: int) -> None:
        self._pixels, self._device = pixels, device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._tables = PackTables(pack, device)
        self._size = torch.stack([pixels.width[:, 0], pixels.height[:, 0]], dim=1).float()

    @property
    def class_weights(self) -> Tensor:
        """The weights of the classes (classes,). Rare classes have higher weights."""
        return self._tables.class_weights

    def batch(self, scenes: int, sheets: int, side: int, *, mosaics: bool = True) -> Batch:
        """Compose `scenes` scenes of photographs and `sheets` sheets of faces, `side` pixels
        wide."""
        images, truth = self._scenes(scenes, side, MOSAIC_SHARE if mosaics else 0.0)
        if sheets:
            sheet_images, sheet_truth = self._sheets(sheets, side)
            images = torch.cat([images, sheet_images])
            pairs = zip(vars(truth).values(), vars(sheet_truth).values(), strict=True)
            truth = GroundTruth(*(torch.cat(pair) for pair in pairs))
        images = corrupt(images.permute(0, 3, 1, 2), self._generator)
        return Batch(images, truth, sheets)

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator, device=self._device)

    def _between(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * self._random(*shape)

    def _log_between(self, low: Tensor | float, high: Tensor | float, *shape: int) -> Tensor:
        low, high = (torch.as_tensor(each, device=self._device).log() for each in (low, high))
        return (low + (high - low).clamp(min=0) * self._random(*shape)).exp()

    def _sample(self, weights: Tensor, *shape: int) -> Tensor:
        """Sample indices by weight, with replacement."""
        cumulated = weights.cumsum(0)
        values = self._random(math.prod(shape)).double() * cumulated[-1]
        return torch.searchsorted(cumulated, values).clamp(max=len(weights) - 1).view(shape)

    def _scenes(self, count: int, side: int, mosaic_share: float) -> tuple[Tensor, GroundTruth]:
        tables = self._tables
        mosaic = self._random(count, 1) < mosaic_share
        split = torch.where(mosaic, self._between(0.3, 0.7, count, 2) * side, float(side)).round()
        low = torch.stack([torch.zeros_like(split), split], dim=1)  # (count, 2, xy)
        high = torch.stack([split, torch.full_like(split, side)], dim=1)
        column, row = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
        corner = torch.stack([low[:, column, 0], low[:, row, 1]], dim=-1)  # (count, 4, xy)
        room = torch.stack([high[:, column, 0], high[:, row, 1]], dim=-1) - corner
        image = self._sample(tables.scene_weights, count, 4)
        views = self._views(image, corner, room.clamp(min=1), mosaic)
        steps = torch.arange(side, device=self._device)
        right = (steps >= split[:, 0:1])[:, None, :].long()
        below = (steps >= split[:, 1:2])[:, :, None].long()
        valid = tables.valid[image] & (room.amin(dim=-1) > 0)[..., None]
        truth = _ground_truth(
            views.boxes(tables.boxes[image]),
            valid,
            tables.sure[image],
            tables.targets[image],
            (corner, corner + room),
        )
        images = self._rendered(views, right + 2 * below, side)
        return self._occluded(images, truth)

    def _rendered(self, views: Views, tile: Tensor, side: int) -> Tensor:
        """Render in parts, because rendering needs 500 bytes per pixel."""
        return torch.cat(
            [
                render(
                    self._pixels,
                    Views(*(each[start : start + RENDER_BATCH] for each in views)),
                    tile[start : start + RENDER_BATCH],
                    side,
                )
                for start in range(0, len(tile), RENDER_BATCH)
            ]
        )

    def _views(self, image: Tensor, corner: Tensor, room: Tensor, mosaic: Tensor) -> Views:
        """Choose a view for each tile (count, 4) of the scenes.

        A view shows the whole image, or a part that contains a random sure face at a random size.
        """
        shape = tuple(image.shape)
        size = self._size[image]
        sure = self._tables.sure[image] & self._tables.valid[image]
        face = (sure * (0.05 + self._random(*sure.shape))).argmax(dim=-1)
        index = face[..., None, None].expand(*shape, 1, 4)
        box = self._tables.boxes[image].gather(2, index)[:, :, 0]
        has_face = sure.any(dim=-1)
        face_side = (box[..., 2:] - box[..., :2]).amax(dim=-1).clamp(min=1)
        fit = (room / size).amin(dim=-1).clamp(max=1)
        reduced = torch.where(
            has_face & (self._random(*shape) < 0.5), self._between(0.3, 1, *shape), 1.0
        )
        largest = (0.95 * room.amin(dim=-1)).clamp(max=FACE_SIDES[1]).clamp(min=FACE_SIDES[0])
        zoom = (self._log_between(FACE_SIDES[0], largest, *shape) / face_side).clamp(*SCALES)
        zoom = torch.where(has_face, zoom, self._log_between(0.4, 1.6, *shape))
        whole = self._random(*shape) < WHOLE_SHARE
        scale = torch.where(whole, fit * reduced, zoom)
        cover = (room / size).amax(dim=-1).clamp(max=SCALES[1])
        covers = mosaic & (self._random(*shape) < 0.65)
        scale = torch.where(covers, torch.maximum(scale, cover), scale)
        region = room / scale[..., None]
        around_face = (box[..., :2] + box[..., 2:]) / 2 - self._between(
            0.1, 0.9, *shape, 2
        ) * region
        anywhere = self._random(*shape, 2) * (size - region)
        start = torch.where((has_face & ~whole)[..., None], around_face, anywhere)
        start = torch.minimum(start.clamp(min=0), (size - region).clamp(min=0))
        # An image that is smaller than its tile is in the corner or at a random position.
        position = -self._random(*shape, 2) * (region - size).clamp(min=0)
        position = torch.where((self._random(*shape) < 0.5)[..., None], position, 0.0)
        start = torch.where(region >= size, position, start)
        is_rotated = self._random(*shape) < ROTATED_SHARE
        return Views(
            image=image,
            source=start + region / 2,
            target=corner + room / 2,
            scale=scale,
            angle=torch.where(is_rotated, self._between(-MAX_ANGLE, MAX_ANGLE, *shape), 0.0),
            flip=self._flips(*shape),
            **self._colours(image),
        )

    def _flips(self, *shape: int) -> Tensor:
        return 1.0 - 2.0 * (self._random(*shape) < 0.5).float()

    def _colours(self, image: Tensor) -> dict[str, Tensor]:
        """Choose gamma, brightness, channel gains and conversion to grey of each view."""
        shape = tuple(image.shape)
        contrast = self._log_between(0.75, 1.3, *shape)
        gain = self._between(0.9, 1.1, *shape, 3)
        tinted = self._tables.is_gray[image] & (self._random(*shape) < 0.6)
        skin = 1 + self._random(*shape, 1) * (gain.new_tensor(SKIN) - 1)
        gain = torch.where(tinted[..., None], skin * gain, gain)
        gray = (self._random(*shape) < 0.3) & ~tinted
        gain = torch.where(gray[..., None], gain.mean(dim=-1, keepdim=True), gain)
        return {
            "gamma": self._log_between(0.7, 1.42, *shape),
            "gain": gain * contrast[..., None],
            "light": 127.5 * (1 - contrast) + self._between(-25, 25, *shape),
            "gray": gray.float(),
        }

    def _sheets(self, count: int, side: int) -> tuple[Tensor, GroundTruth]:
        most = max(SHEET_COLUMNS)
        columns = torch.tensor(SHEET_COLUMNS, device=self._device)[
            (self._random(count) * len(SHEET_COLUMNS)).long()
        ]
        face = self._sample(self._tables.sheet_weights, count, most * most)
        number = torch.arange(most * most, device=self._device).expand(count, -1)
        used = number < (columns**2)[:, None]
        width = (side / columns)[:, None]
        corner = torch.stack([number % columns[:, None], number // columns[:, None]], dim=-1)
        corner = corner * width[..., None]
        box = self._tables.face_box[face]
        face_side = (box[..., 2:] - box[..., :2]).amax(dim=-1)
        scale = width * self._between(0.8, 1.15, *face.shape) / face_side
        shift = self._between(-0.08, 0.08, *face.shape, 2) * width[..., None]
        image = self._tables.face_image[face]
        views = Views(
            image=image,
            source=(box[..., :2] + box[..., 2:]) / 2,
            target=corner + width[..., None] / 2 + shift,
            scale=scale,
            angle=self._between(-SHEET_MAX_ANGLE, SHEET_MAX_ANGLE, *face.shape)
            * (self._random(*face.shape) < 0.7),
            flip=self._flips(*face.shape),
            **self._colours(image),
        )
        place = torch.arange(side, device=self._device) / (side / columns)[:, None]
        place = torch.minimum(place.long(), columns[:, None] - 1)
        tile = place[:, None, :] + columns[:, None, None] * place[:, :, None]
        truth = _ground_truth(
            views.boxes(box[:, :, None]),
            used[..., None],
            used[..., None],
            self._tables.face_targets[face][:, :, None],
            (corner, corner + width[..., None]),
        )
        return self._rendered(views, tile, side), truth

    def _occluded(self, images: Tensor, truth: GroundTruth) -> tuple[Tensor, GroundTruth]:
        """Cover a part of one sure face in some scenes with a uniform colour and noise."""
        count, side = len(images), images.shape[1]
        face = (truth.sure * (0.05 + self._random(*truth.sure.shape))).argmax(dim=1)
        row = torch.arange(count, device=self._device)
        x1, y1, x2, y2 = truth.boxes[row, face].unbind(dim=1)
        covers = truth.sure.any(dim=1) & (self._random(count) < OCCLUDED_SHARE)
        width, height = (x2 - x1), (y2 - y1)
        part = self._between(0.25, 0.7, count, 2)
        part[:, 1] = torch.minimum(part[:, 1], 0.42 / part[:, 0])
        left = x1 + self._between(-0.2, 0.8, count) * width
        top = y1 + self._between(-0.2, 0.8, count) * height
        steps = torch.arange(side, device=self._device) + 0.5
        across = (steps - left[:, None]) / (part[:, :1] * width[:, None]).clamp(min=1) * 2 - 1
        down = (steps - top[:, None]) / (part[:, 1:] * height[:, None]).clamp(min=1) * 2 - 1
        across, down = across[:, None, :], down[:, :, None]
        is_ellipse = (self._random(count) < 0.5)[:, None, None]
        hidden = torch.where(
            is_ellipse, across**2 + down**2 <= 1, torch.maximum(across.abs(), down.abs()) <= 1
        )
        hidden &= covers[:, None, None]
        color = self._between(20, 235, count, 1, 1, 3)
        color = torch.where(
            (self._random(count) < 0.5)[:, None, None, None], color.mean(-1, True), color
        )
        samples = images[
            row, (side * self._random(count)).long(), (side * self._random(count)).long()
        ]
        is_sampled = (self._random(count) < 0.5)[:, None, None, None]
        color = torch.where(is_sampled, samples[:, None, None, :], color)
        noise = 12 * torch.randn(images.shape[:3], generator=self._generator, device=self._device)
        images = torch.where(hidden[..., None], (color + noise[..., None]).clamp(0, 255), images)
        targets = truth.targets.clone()
        targets[row, face] *= (~covers).float()[:, None]
        return images, GroundTruth(truth.boxes, truth.valid, truth.sure, targets)


def _ground_truth(
    boxes: Tensor, valid: Tensor, sure: Tensor, targets: Tensor, edges: tuple[Tensor, Tensor]
) -> GroundTruth:
    """Return the MAX_SCENE_FACES largest faces of each scene.

    `boxes` (scenes, tiles, n, 4) are clipped to the `edges` of their tiles: the upper left and the
    lower right corners (scenes, tiles, xy).
    """
    low, high = (torch.cat([each, each], dim=-1)[:, :, None] for each in edges)
    inside = torch.minimum(torch.maximum(boxes, low), high)
    sides = inside[..., 2:] - inside[..., :2]
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1).clamp(min=1e-6)
    visible = sides.prod(dim=-1) / area
    valid = valid & (sides.amin(dim=-1) > 0)
    longer = sides.amax(dim=-1)
    sure = sure & valid & (visible >= MIN_VISIBLE) & (longer >= MIN_SURE_SIDE)
    usable = sure & (longer >= MIN_EXPRESSION_SIDE) & (visible >= MIN_EXPRESSION_VISIBLE)
    targets = targets * usable[..., None]
    count = min(MAX_SCENE_FACES, longer[0].numel())
    _, order = (longer * valid).flatten(1).topk(count, dim=1)
    padding = MAX_SCENE_FACES - order.shape[1]

    def largest(values: Tensor) -> Tensor:
        flat = values.flatten(1, 2)
        index = order.view(*order.shape, *[1] * (flat.ndim - 2))
        taken = flat.gather(1, index.expand(*order.shape, *flat.shape[2:]))
        return F.pad(taken, (0, 0) * (taken.ndim - 2) + (0, padding))

    return GroundTruth(largest(inside), largest(valid), largest(sure), largest(targets))
