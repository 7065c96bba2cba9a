"""Training scenes composed on the GPU, a whole batch at a time.

A batch holds scenes of photographs (one view, or a mosaic of four) and, last, sheets: grids of
faces, many in one scene, from which expressions are learned. `Composer.batch` chooses images and
views, renders them, damages the pixels as cameras and files do, and moves the boxes along.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.scene_pack import COLLECTIONS, ScenePack
from training.detection.damage import damage
from training.detection.heads import Batch
from training.detection.losses import Marks
from training.detection.pixels import Pixels, Views, render

SHARES = {"natural": 0.22, "empty": 0.16, "crowds": 0.22, "expw": 0.30, "portraits": 0.10}
GRAY = ("portraits", "ferplus")
SHEET_SHARES = {"ferplus": 0.45, "expw": 0.35, "natural": 0.1, "portraits": 0.1}
MOST_IMAGE_FACES, MOST_FACES = 40, 48  # of an image, of a scene
MOSAIC_SHARE = 0.75
FACE_SIDES, SCALES = (12.0, 300.0), (0.25, 4.0)
WHOLE_SHARE = 0.35  # of the views, shown as an image is served
TURN_SHARE, TURN = 0.3, math.radians(20)
SHEET_TURN = math.radians(30)
SHEETS = (2, 3, 4, 5, 6)  # faces across
VISIBLE = 0.5  # of a box that an edge cuts, for its face to count
FEWEST_SIDE, FEWEST_NAMED = 8.0, 24.0  # pixels of a face that counts, and whose expression counts
BALANCE = 0.5  # faces are drawn by p^-BALANCE, p being the share of their class
OCCLUDED_SHARE = 0.3  # of the scenes with a face
RENDERED = 32  # scenes at a time
SKIN = (0.72, 0.92, 1.18)  # gains of blue, green and red that tint a grey face


class Composer:
    """Draws batches from a pack whose pixels are on `device`."""

    def __init__(self, pack: ScenePack, pixels: Pixels, device: torch.device, seed: int) -> None:
        self._pixels, self._device = pixels, device
        self._generator = torch.Generator(device).manual_seed(seed)
        collection = torch.from_numpy(pack.collection.astype("int64"))
        image, targets = torch.from_numpy(pack.image), torch.from_numpy(pack.targets)
        box, sure = torch.from_numpy(pack.box), torch.from_numpy(pack.sure)
        rarity = self._rarity(targets)
        mass = targets.sum(dim=1)
        self.class_weights = rarity.to(device)
        draw = (targets @ rarity) * sure
        self._grays = torch.tensor([name in GRAY for name in COLLECTIONS])[collection].to(device)
        self._size = torch.stack([pixels.width[:, 0], pixels.height[:, 0]], dim=1).float()
        self._of_scenes = self._photographs(collection, image, draw, mass).to(device)
        self._of_sheets = self._faces(collection[image], draw).to(device)
        self._face_image, self._face_box = image.to(device), box.to(device)
        self._face_targets = targets.to(device)
        self._tables(image, box, sure, targets, len(collection))

    @staticmethod
    def _rarity(targets: Tensor) -> Tensor:
        """Weights (classes,) that draw rare classes more often."""
        shares = targets.sum(dim=0) / targets.sum()
        weights = shares.clamp(min=5e-3) ** -BALANCE
        return weights / (shares * weights).sum()

    @staticmethod
    def _photographs(collection: Tensor, image: Tensor, draw: Tensor, mass: Tensor) -> Tensor:
        """The probability of each image (images,) as a view of a scene: each collection has its
        share, and an image with rare expressions is drawn more often."""
        weights = torch.ones(len(collection), dtype=torch.float64)
        best = torch.zeros(len(collection), dtype=torch.float64)
        best.scatter_reduce_(0, image, (draw / mass.clamp(min=1e-6)).double(), "amax")
        weights += 0.7 * best
        for index, name in enumerate(COLLECTIONS):
            own = collection == index
            if own.any():
                weights[own] *= SHARES.get(name, 0.0) / weights[own].sum()
        return weights

    @staticmethod
    def _faces(collection: Tensor, draw: Tensor) -> Tensor:
        """The probability of each face (faces,) in a sheet."""
        weights = draw.double()
        for index, name in enumerate(COLLECTIONS):
            own = collection == index
            if own.any():
                total = weights[own].sum().clamp(min=1e-9)
                weights[own] *= SHEET_SHARES.get(name, 0.0) / total
        return weights

    def _tables(
        self, image: Tensor, box: Tensor, sure: Tensor, targets: Tensor, images: int
    ) -> None:
        """The faces of each image (images, MOST_IMAGE_FACES), the largest first, padded."""
        sides = (box[:, 2:] - box[:, :2]).amax(dim=1)
        order = torch.argsort(sides, descending=True, stable=True)
        order = order[torch.argsort(image[order], stable=True)]
        counts = torch.bincount(image, minlength=images)
        first = torch.cumsum(counts, 0) - counts
        place = torch.arange(len(order)) - first[image[order]]
        keep = place < MOST_IMAGE_FACES
        where = image[order][keep], place[keep]

        def table(values: Tensor) -> Tensor:
            made = torch.zeros(images, MOST_IMAGE_FACES, *values.shape[1:], dtype=values.dtype)
            made[where] = values[order][keep]
            return made.to(self._device)

        self._boxes, self._sure, self._targets = table(box), table(sure), table(targets)
        self._real = table(torch.ones(len(image), dtype=torch.bool))

    def batch(self, scenes: int, sheets: int, side: int, *, mosaics: bool = True) -> Batch:
        """`scenes` scenes of photographs and `sheets` sheets of faces, `side` pixels wide."""
        images, marks = self._scenes(scenes, side, MOSAIC_SHARE if mosaics else 0.0)
        if sheets:
            more, its = self._sheets(sheets, side)
            images = torch.cat([images, more])
            marks = Marks(*(torch.cat([getattr(marks, n), getattr(its, n)]) for n in vars(marks)))
        images = damage(images.permute(0, 3, 1, 2), self._generator)
        return Batch(images, marks, sheets)

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator, device=self._device)

    def _between(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * self._random(*shape)

    def _log_between(self, low: Tensor | float, high: Tensor | float, *shape: int) -> Tensor:
        low, high = (torch.as_tensor(each, device=self._device).log() for each in (low, high))
        return (low + (high - low).clamp(min=0) * self._random(*shape)).exp()

    def _drawn(self, weights: Tensor, *shape: int) -> Tensor:
        cumulated = weights.cumsum(0)
        spots = self._random(math.prod(shape)).double() * cumulated[-1]
        return torch.searchsorted(cumulated, spots).clamp(max=len(weights) - 1).view(shape)

    def _scenes(self, count: int, side: int, mosaic_share: float) -> tuple[Tensor, Marks]:
        mosaic = self._random(count, 1) < mosaic_share
        split = torch.where(mosaic, self._between(0.3, 0.7, count, 2) * side, float(side)).round()
        low = torch.stack([torch.zeros_like(split), split], dim=1)  # (count, 2, xy)
        high = torch.stack([split, torch.full_like(split, side)], dim=1)
        column, row = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1])
        corner = torch.stack([low[:, column, 0], low[:, row, 1]], dim=-1)  # (count, 4, xy)
        room = torch.stack([high[:, column, 0], high[:, row, 1]], dim=-1) - corner
        image = self._drawn(self._of_scenes, count, 4)
        views = self._views(image, corner, room.clamp(min=1), mosaic)
        steps = torch.arange(side, device=self._device)
        tile = (steps >= split[:, 0:1])[:, None, :].long() + 2 * (steps >= split[:, 1:2])[
            :, :, None
        ].long()
        boxes = views.boxes(self._boxes[image])
        real = self._real[image] & (room.amin(dim=-1) > 0)[..., None]
        edges = corner, corner + room
        marks = self._marks(boxes, real, self._sure[image], self._targets[image], edges)
        images = self._rendered(views, tile, side)
        return self._occluded(images, marks)

    def _rendered(self, views: Views, tile: Tensor, side: int) -> Tensor:
        """Rendered in parts, because rendering takes 500 bytes a pixel."""
        return torch.cat(
            [
                render(
                    self._pixels,
                    Views(*(each[start : start + RENDERED] for each in views)),
                    tile[start : start + RENDERED],
                    side,
                )
                for start in range(0, len(tile), RENDERED)
            ]
        )

    def _views(self, image: Tensor, corner: Tensor, room: Tensor, mosaic: Tensor) -> Views:
        shape = tuple(image.shape)
        size = self._size[image]
        sure = self._sure[image] & self._real[image]
        face = (sure * (0.05 + self._random(*sure.shape))).argmax(dim=-1)
        box = self._boxes[image].gather(2, face[..., None, None].expand(*shape, 1, 4))[:, :, 0]
        has_face = sure.any(dim=-1)
        face_side = (box[..., 2:] - box[..., :2]).amax(dim=-1).clamp(min=1)
        fit = (room / size).amin(dim=-1).clamp(max=1)
        small = torch.where(
            has_face & (self._random(*shape) < 0.5), self._between(0.3, 1, *shape), 1.0
        )
        largest = (0.95 * room.amin(dim=-1)).clamp(max=FACE_SIDES[1]).clamp(min=FACE_SIDES[0])
        zoom = (self._log_between(FACE_SIDES[0], largest, *shape) / face_side).clamp(*SCALES)
        zoom = torch.where(has_face, zoom, self._log_between(0.4, 1.6, *shape))
        whole = self._random(*shape) < WHOLE_SHARE
        scale = torch.where(whole, fit * small, zoom)
        cover = (room / size).amax(dim=-1).clamp(max=SCALES[1])
        covers = mosaic & (self._random(*shape) < 0.65)
        scale = torch.where(covers, torch.maximum(scale, cover), scale)
        region = room / scale[..., None]
        wanted = (box[..., :2] + box[..., 2:]) / 2 - self._between(0.1, 0.9, *shape, 2) * region
        anywhere = self._random(*shape, 2) * (size - region)
        start = torch.where((has_face & ~whole)[..., None], wanted, anywhere)
        start = torch.minimum(start.clamp(min=0), (size - region).clamp(min=0))
        # An image that is smaller than its room lies at the corner or anywhere in the room.
        loose = -self._random(*shape, 2) * (region - size).clamp(min=0)
        loose = torch.where((self._random(*shape) < 0.5)[..., None], loose, 0.0)
        start = torch.where(region >= size, loose, start)
        turned = self._random(*shape) < TURN_SHARE
        return Views(
            image=image,
            source=start + region / 2,
            target=corner + room / 2,
            scale=scale,
            angle=torch.where(turned, self._between(-TURN, TURN, *shape), 0.0),
            flip=self._flips(*shape),
            **self._look(image),
        )

    def _flips(self, *shape: int) -> Tensor:
        return 1.0 - 2.0 * (self._random(*shape) < 0.5).float()

    def _look(self, image: Tensor) -> dict[str, Tensor]:
        """Gamma, light, gains of the channels and loss of colours of each tile."""
        shape = tuple(image.shape)
        contrast = self._log_between(0.75, 1.3, *shape)
        gain = self._between(0.9, 1.1, *shape, 3)
        tinted = self._grays[image] & (self._random(*shape) < 0.6)
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

    def _sheets(self, count: int, side: int) -> tuple[Tensor, Marks]:
        most = max(SHEETS)
        across = torch.tensor(SHEETS, device=self._device)[
            (self._random(count) * len(SHEETS)).long()
        ]
        face = self._drawn(self._of_sheets, count, most * most)
        number = torch.arange(most * most, device=self._device).expand(count, -1)
        used = number < (across**2)[:, None]
        width = (side / across)[:, None]
        corner = torch.stack([number % across[:, None], number // across[:, None]], dim=-1)
        corner = corner * width[..., None]
        box = self._face_box[face]
        face_side = (box[..., 2:] - box[..., :2]).amax(dim=-1)
        scale = width * self._between(0.8, 1.15, *face.shape) / face_side
        shift = self._between(-0.08, 0.08, *face.shape, 2) * width[..., None]
        image = self._face_image[face]
        views = Views(
            image=image,
            source=(box[..., :2] + box[..., 2:]) / 2,
            target=corner + width[..., None] / 2 + shift,
            scale=scale,
            angle=self._between(-SHEET_TURN, SHEET_TURN, *face.shape)
            * (self._random(*face.shape) < 0.7),
            flip=self._flips(*face.shape),
            **self._look(image),
        )
        place = torch.arange(side, device=self._device) / (side / across)[:, None]
        place = torch.minimum(place.long(), across[:, None] - 1)
        tile = place[:, None, :] + across[:, None, None] * place[:, :, None]
        marks = self._marks(
            views.boxes(box[:, :, None]),
            used[..., None],
            used[..., None],
            self._face_targets[face][:, :, None],
            (corner, corner + width[..., None]),
        )
        return self._rendered(views, tile, side), marks

    @staticmethod
    def _marks(
        boxes: Tensor, real: Tensor, sure: Tensor, targets: Tensor, edges: tuple[Tensor, Tensor]
    ) -> Marks:
        """The MOST_FACES largest faces of a scene, of boxes (scenes, tiles, n, 4) that are cut off
        at the `edges` of their tiles: left and top, right and bottom (scenes, tiles, xy)."""
        low, high = (torch.cat([each, each], dim=-1)[:, :, None] for each in edges)
        inside = torch.minimum(torch.maximum(boxes, low), high)
        sides = inside[..., 2:] - inside[..., :2]
        seen = sides.prod(dim=-1) / (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1).clamp(min=1e-6)
        real = real & (sides.amin(dim=-1) > 0)
        longer = sides.amax(dim=-1)
        sure = sure & real & (seen >= VISIBLE) & (longer >= FEWEST_SIDE)
        named = sure & (longer >= FEWEST_NAMED) & (seen >= 0.75)
        targets = targets * named[..., None]
        _, order = (longer * real).flatten(1).topk(min(MOST_FACES, longer[0].numel()), dim=1)
        pad = MOST_FACES - order.shape[1]

        def chosen(values: Tensor) -> Tensor:
            flat = values.flatten(1, 2)
            index = order.view(*order.shape, *[1] * (flat.ndim - 2))
            taken = flat.gather(1, index.expand(*order.shape, *flat.shape[2:]))
            return F.pad(taken, (0, 0) * (taken.ndim - 2) + (0, pad))

        return Marks(chosen(inside), chosen(real), chosen(sure), chosen(targets))

    def _occluded(self, images: Tensor, marks: Marks) -> tuple[Tensor, Marks]:
        """Cover a part of one sure face in some scenes with a flat colour and some noise."""
        count, side = len(images), images.shape[1]
        face = (marks.sure * (0.05 + self._random(*marks.sure.shape))).argmax(dim=1)
        row = torch.arange(count, device=self._device)
        x1, y1, x2, y2 = marks.faces[row, face].unbind(dim=1)
        covers = marks.sure.any(dim=1) & (self._random(count) < OCCLUDED_SHARE)
        width, height = (x2 - x1), (y2 - y1)
        part = self._between(0.25, 0.7, count, 2)
        part[:, 1] = torch.minimum(part[:, 1], 0.42 / part[:, 0])
        left = x1 + self._between(-0.2, 0.8, count) * width
        top = y1 + self._between(-0.2, 0.8, count) * height
        steps = torch.arange(side, device=self._device) + 0.5
        across = (steps - left[:, None]) / (part[:, :1] * width[:, None]).clamp(min=1) * 2 - 1
        down = (steps - top[:, None]) / (part[:, 1:] * height[:, None]).clamp(min=1) * 2 - 1
        across, down = across[:, None, :], down[:, :, None]
        rounded = (self._random(count) < 0.5)[:, None, None]
        hidden = torch.where(
            rounded, across**2 + down**2 <= 1, torch.maximum(across.abs(), down.abs()) <= 1
        )
        hidden &= covers[:, None, None]
        color = self._between(20, 235, count, 1, 1, 3)
        color = torch.where(
            (self._random(count) < 0.5)[:, None, None, None], color.mean(-1, True), color
        )
        spots = images[
            row, (side * self._random(count)).long(), (side * self._random(count)).long()
        ]
        copied = (self._random(count) < 0.5)[:, None, None, None]
        color = torch.where(copied, spots[:, None, None, :], color)
        noise = 12 * torch.randn(images.shape[:3], generator=self._generator, device=self._device)
        images = torch.where(hidden[..., None], (color + noise[..., None]).clamp(0, 255), images)
        targets = marks.targets.clone()
        targets[row, face] *= (~covers).float()[:, None]
        return images, Marks(marks.faces, marks.real, marks.sure, targets)
