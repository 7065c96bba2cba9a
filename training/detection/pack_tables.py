"""The annotations and sampling weights of a scene pack as tensors on a device."""

import torch
from torch import Tensor

from training.data.scene_pack import COLLECTIONS, ScenePack

# Shares of the collections in scenes and in sheets.
SHARES = {"natural": 0.22, "empty": 0.16, "crowds": 0.22, "expw": 0.30, "portraits": 0.10}
SHEET_SHARES = {"ferplus": 0.45, "expw": 0.35, "natural": 0.1, "portraits": 0.1}
GRAY = ("portraits", "ferplus")  # collections of grey images
MAX_IMAGE_FACES = 40
BALANCE = 0.5  # faces have the sampling weight p^-BALANCE, where p is the share of their class
RARITY_WEIGHT = 0.7  # additional weight of an image with the rarest expressions


class PackTables:
    """The annotations of a pack on a device.

    - `class_weights` (classes,): the weights of classes, with a mean of 1 over all targets.
    - `scene_weights` (images,) and `sheet_weights` (faces,): sampling weights.
    - `is_gray` (images,): whether the collection of the image is grey.
    - `boxes`, `sure`, `targets`, `valid` (images, MAX_IMAGE_FACES, …): the faces of each image, the
      largest first, padded.
    - `face_image`, `face_box`, `face_targets` (faces, …): all faces.
    """

    def __init__(self, pack: ScenePack, device: torch.device) -> None:
        collection = torch.from_numpy(pack.collection.astype("int64"))
        image, targets = torch.from_numpy(pack.image), torch.from_numpy(pack.targets)
        box, sure = torch.from_numpy(pack.box), torch.from_numpy(pack.sure)
        class_weights = _class_weights(targets)
        face_weights = (targets @ class_weights) * sure
        rarity = face_weights / targets.sum(dim=1).clamp(min=1e-6)
        self.class_weights = class_weights.to(device)
        self.is_gray = torch.tensor([name in GRAY for name in COLLECTIONS])[collection].to(device)
        self.scene_weights = _scene_weights(collection, image, rarity).to(device)
        self.sheet_weights = _sheet_weights(collection[image], face_weights).to(device)
        self.face_image, self.face_box = image.to(device), box.to(device)
        self.face_targets = targets.to(device)

        rows, where = _places(image, box, len(collection))

        def table(values: Tensor) -> Tensor:
            shape = (len(collection), MAX_IMAGE_FACES, *values.shape[1:])
            result = torch.zeros(shape, dtype=values.dtype)
            result[where] = values[rows]
            return result.to(device)

        self.boxes, self.sure, self.targets = table(box), table(sure), table(targets)
        self.valid = table(torch.ones(len(image), dtype=torch.bool))


def _class_weights(targets: Tensor) -> Tensor:
    shares = targets.sum(dim=0) / targets.sum()
    weights = shares.clamp(min=5e-3) ** -BALANCE
    return weights / (shares * weights).sum()


def _scene_weights(collection: Tensor, image: Tensor, rarity: Tensor) -> Tensor:
    """Return the weight of each image (images,) in scenes. The sum of a collection is its share,
    and images with rare expressions have higher weights. `rarity` (faces,) is the mean class
    weight."""
    weights = torch.ones(len(collection), dtype=torch.float64)
    highest = torch.zeros(len(collection), dtype=torch.float64)
    highest.scatter_reduce_(0, image, rarity.double(), "amax")
    weights += RARITY_WEIGHT * highest
    for index, name in enumerate(COLLECTIONS):
        members = collection == index
        if members.any():
            weights[members] *= SHARES.get(name, 0.0) / weights[members].sum()
    return weights


def _sheet_weights(collection: Tensor, face_weights: Tensor) -> Tensor:
    """Return the weight of each face (faces,) in sheets. The sum of a collection is its share."""
    weights = face_weights.double()
    for index, name in enumerate(COLLECTIONS):
        members = collection == index
        if members.any():
            total = weights[members].sum().clamp(min=1e-9)
            weights[members] *= SHEET_SHARES.get(name, 0.0) / total
    return weights


def _places(image: Tensor, box: Tensor, images: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the rows of the MAX_IMAGE_FACES largest faces of each image, and their positions in a
    table (images, MAX_IMAGE_FACES)."""
    sides = (box[:, 2:] - box[:, :2]).amax(dim=1)
    order = torch.argsort(sides, descending=True, stable=True)
    order = order[torch.argsort(image[order], stable=True)]
    counts = torch.bincount(image, minlength=images)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(len(order)) - first[image[order]]
    keep = rank < MAX_IMAGE_FACES
    return order[keep], (image[order][keep], rank[keep])
