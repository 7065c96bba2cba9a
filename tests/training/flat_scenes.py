"""Scenes with faces of one colour each, and checks that boxes lie on the faces."""

import numpy as np

from training.data.annotated_images import (
    MIN_EXPRESSION_SIDE,
    AnnotatedImage,
)
from training.data.scene_geometry import MAX_SURE_FACES, MIN_SURE_SIDE
from training.data.scenes import Collection, Sources
from training.ferplus_labels import LABELS

# The expression of a face determines its colour, so tests can compare boxes, targets and pixels.
# The colours are corners of the colour cube, and the ground is its middle, so a blend of a face and
# the ground is not the colour of another face.
GROUND = 7  # 8 is the black outside of an image
PALETTE = np.array(
    [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255),
        (255, 255, 255), (128, 128, 128), (0, 0, 0),
    ],
)  # fmt: skip
WHITE = 6  # the only face colour of a grey image
FEW_PIXELS = 4.0  # the side of a box that is too thin to be measured
WRONG_BY = 1.5  # tolerance in pixels for the edges of scaled faces

CROWD = {0: (20, 30, 38, 54), 2: (90, 20, 140, 80), 3: (200, 110, 284, 216), 5: (44, 140, 80, 190)}


def flat_image(faces, *, width=300, height=240, unsure=(), gray=False):
    """Draw an image with faces, given as {label: (x1, y1, x2, y2)}, in their colours."""
    image = np.full((height, width, 3), PALETTE[GROUND], np.uint8)
    for label, (x1, y1, x2, y2) in faces.items():
        image[y1:y2, x1:x2] = PALETTE[label]
    return AnnotatedImage(
        image[:, :, 0].copy() if gray else image,
        np.array(list(faces.values()), np.float32).reshape(-1, 4),
        np.array([label not in unsure for label in faces], bool),
        np.eye(len(LABELS), dtype=np.float32)[list(faces)].reshape(-1, len(LABELS)),
    )


def only(*images):
    """Return sources that contain only these images."""
    each = Collection.of(images)
    return Sources(((1.0, each),), empty=each, crops=each, portraits=each)


def assert_boxes_lie_on_faces(result):
    """Check that the edges of each box coincide with its colour, and return how many were checked.

    Boxes beside another box of the same colour are not checked.
    """
    distances = [np.abs(result.image.astype(int) - color).sum(axis=2) for color in PALETTE]
    labels = np.argmin(distances, axis=0)
    return sum(box_lies_on_face(result, index, labels) for index in range(len(result.boxes)))


def box_lies_on_face(result, index, labels, around=6):
    height, width = labels.shape
    box, label = result.boxes[index].astype(float), result.targets[index].argmax()
    if (box[2:] - box[:2]).min() < FEW_PIXELS:
        return False
    x1, y1 = np.clip(np.floor(box[:2]).astype(int) - around, 0, None)
    x2, y2 = np.minimum(np.ceil(box[2:]).astype(int) + around, (width, height))
    beside = (result.targets.argmax(axis=1) == label) & (np.arange(len(result.boxes)) != index)
    low, high = result.boxes[beside, :2], result.boxes[beside, 2:]
    if ((low < (x2, y2)) & (high > (x1, y1)) & (high > low)).all(axis=1).any():
        return False
    rows, columns = np.nonzero(labels[y1:y2, x1:x2] == label)
    assert len(rows), f"no pixel of face {label} in or around {box}"
    seen = (columns.min() + x1, rows.min() + y1, columns.max() + 1 + x1, rows.max() + 1 + y1)
    assert np.abs(np.subtract(seen, box)).max() <= WRONG_BY, f"face {label}: {seen}, box {box}"
    inside = labels[round(box[1] + 1) : round(box[3] - 1), round(box[0] + 1) : round(box[2] - 1)]
    assert (inside == label).mean() > 0.99
    return True


def assert_no_face_lacks_a_box(result):
    near = [np.abs(result.image.astype(int) - color).sum(axis=2) < 60 for color in PALETTE[:GROUND]]
    seen = {label for label, pixels in enumerate(near) if pixels.sum() > 8}
    present = (result.boxes[:, 2:] > result.boxes[:, :2]).all(axis=1)
    assert seen <= set(result.targets[present].argmax(axis=1).tolist())


def assert_sound(result, side):
    assert result.image.shape == (side, side, 3)
    assert result.image.dtype == np.uint8
    assert result.image.flags.c_contiguous
    count = len(result.boxes)
    assert result.boxes.shape == (count, 4)
    assert result.sure.shape == (count,)
    assert result.targets.shape == (count, len(LABELS))
    assert (result.boxes.dtype, result.targets.dtype) == (np.float32, np.float32)
    assert result.sure.dtype == bool
    assert result.sure.sum() <= MAX_SURE_FACES
    assert (result.boxes >= 0).all()
    assert (result.boxes <= side).all()
    sides = result.boxes[:, 2:] - result.boxes[:, :2]
    assert (sides > 0).all()
    longer = sides.max(axis=1, initial=0)
    assert (np.diff(longer) <= 0).all()  # the largest first
    assert (longer[result.sure] >= MIN_SURE_SIDE).all()
    assert not result.targets[longer < MIN_EXPRESSION_SIDE].any()
    sums = result.targets.sum(axis=1)
    assert np.isclose(sums, 0, atol=1e-4).sum() + np.isclose(sums, 1, atol=1e-4).sum() == count


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("image", "boxes", "sure", "targets")
    )
