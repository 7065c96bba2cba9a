"""Scenes whose faces are flat colours, and checks that boxes stay on them."""

import numpy as np

from training.data.marked_images import (
    FEWEST_PIXELS,
    MarkedImage,
)
from training.data.scenes import FEWEST_SIDE, MOST_FACES, Collection, Sources
from training.votes import LABELS

# A face's expression says its colour, so a box, its target and the pixels can be held together.
# Corners of the colour cube on its middle: no blend of two of these is a third.
GROUND = 7  # and 8 is the black where a picture ends
PALETTE = np.array(
    [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255),
        (255, 255, 255), (128, 128, 128), (0, 0, 0),
    ],
)  # fmt: skip
WHITE = 6  # the one face that a grey picture can have
FEW_PIXELS = 4.0  # of a box that is too thin to be measured
WRONG_BY = 1.5  # pixels; sides of faces are whole numbers only before they are scaled

CROWD = {0: (20, 30, 38, 54), 2: (90, 20, 140, 80), 3: (200, 110, 284, 216), 5: (44, 140, 80, 190)}


def picture(faces, *, width=300, height=240, unsure=(), gray=False):
    """Faces {label: (x1, y1, x2, y2)} in their colours."""
    image = np.full((height, width, 3), PALETTE[GROUND], np.uint8)
    for label, (x1, y1, x2, y2) in faces.items():
        image[y1:y2, x1:x2] = PALETTE[label]
    return MarkedImage(
        image[:, :, 0].copy() if gray else image,
        np.array(list(faces.values()), np.float32).reshape(-1, 4),
        np.array([label not in unsure for label in faces], bool),
        np.eye(len(LABELS), dtype=np.float32)[list(faces)].reshape(-1, len(LABELS)),
    )


def only(*pictures):
    """Sources that have nothing but these to draw from."""
    each = Collection.of(pictures)
    return Sources(((1.0, each),), empty=each, crops=each, portraits=each)


def assert_boxes_lie_on_faces(made):
    """Each box that has nothing of its own colour beside it ends where that colour ends. Returns
    how many were measured."""
    distances = [np.abs(made.image.astype(int) - color).sum(axis=2) for color in PALETTE]
    labels = np.argmin(distances, axis=0)
    return sum(box_lies_on_face(made, index, labels) for index in range(len(made.boxes)))


def box_lies_on_face(made, index, labels, around=6):
    height, width = labels.shape
    box, label = made.boxes[index].astype(float), made.targets[index].argmax()
    if (box[2:] - box[:2]).min() < FEW_PIXELS:
        return False
    x1, y1 = np.clip(np.floor(box[:2]).astype(int) - around, 0, None)
    x2, y2 = np.minimum(np.ceil(box[2:]).astype(int) + around, (width, height))
    beside = (made.targets.argmax(axis=1) == label) & (np.arange(len(made.boxes)) != index)
    low, high = made.boxes[beside, :2], made.boxes[beside, 2:]
    if ((low < (x2, y2)) & (high > (x1, y1)) & (high > low)).all(axis=1).any():
        return False
    rows, columns = np.nonzero(labels[y1:y2, x1:x2] == label)
    assert len(rows), f"no pixel of face {label} in or around {box}"
    seen = (columns.min() + x1, rows.min() + y1, columns.max() + 1 + x1, rows.max() + 1 + y1)
    assert np.abs(np.subtract(seen, box)).max() <= WRONG_BY, f"face {label}: {seen}, box {box}"
    inside = labels[round(box[1] + 1) : round(box[3] - 1), round(box[0] + 1) : round(box[2] - 1)]
    assert (inside == label).mean() > 0.99
    return True


def assert_no_face_lacks_a_box(made):
    near = [np.abs(made.image.astype(int) - color).sum(axis=2) < 60 for color in PALETTE[:GROUND]]
    seen = {label for label, pixels in enumerate(near) if pixels.sum() > 8}
    present = (made.boxes[:, 2:] > made.boxes[:, :2]).all(axis=1)
    assert seen <= set(made.targets[present].argmax(axis=1).tolist())


def assert_sound(made, side):
    assert made.image.shape == (side, side, 3)
    assert made.image.dtype == np.uint8
    assert made.image.flags.c_contiguous
    count = len(made.boxes)
    assert made.boxes.shape == (count, 4)
    assert made.sure.shape == (count,)
    assert made.targets.shape == (count, len(LABELS))
    assert (made.boxes.dtype, made.targets.dtype) == (np.float32, np.float32)
    assert made.sure.dtype == bool
    assert made.sure.sum() <= MOST_FACES
    assert (made.boxes >= 0).all()
    assert (made.boxes <= side).all()
    sides = made.boxes[:, 2:] - made.boxes[:, :2]
    assert (sides > 0).all()
    longer = sides.max(axis=1, initial=0)
    assert (np.diff(longer) <= 0).all()  # the largest first
    assert (longer[made.sure] >= FEWEST_SIDE).all()
    assert not made.targets[longer < FEWEST_PIXELS].any()
    sums = made.targets.sum(axis=1)
    assert np.isclose(sums, 0, atol=1e-4).sum() + np.isclose(sums, 1, atol=1e-4).sum() == count


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("image", "boxes", "sure", "targets")
    )
