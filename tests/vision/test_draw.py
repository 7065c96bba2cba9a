import numpy as np
import pytest

from app.vision.draw import annotate, annotated_picture
from app.vision.image import ImageFile
from app.vision.types import Analysis, Box, Face, ModelRef
from tests.conftest import picture


def analysis(*boxes, size=(200, 200), threshold=0.2):
    faces = tuple(Face(box, {"neutral": 0.1, "happiness": 0.9}) for box in boxes)
    return Analysis("a.png", threshold, *size, faces, ModelRef("m", "1", "0" * 64), "haar")


@pytest.mark.parametrize("background", [0, 128, 255])
def test_the_box_is_visible_on_any_background(background):
    image = np.full((200, 200, 3), background, np.uint8)
    drawn = annotate(image, analysis(Box(60, 80, 140, 160)))
    assert (image == background).all()  # the original is left alone
    edge = drawn[120, 55:66].astype(int)
    assert np.abs(edge - background).max() > 90
    assert (drawn[110:130, 90:110] == background).all()  # the face itself is not covered


@pytest.mark.parametrize(
    "box",
    [Box(-10, -10, 50, 50), Box(150, 150, 230, 230), Box(0, 0, 200, 200), Box(0, 190, 5, 199)],
)
@pytest.mark.parametrize("size", [(200, 200), (20, 20), (1, 1), (3000, 40)])
def test_labels_stay_in_the_picture(box, size):
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    assert annotate(image, analysis(box, size=size)).shape == image.shape


@pytest.mark.parametrize("y1", [0, 80, 160])
def test_a_label_is_drawn_wherever_the_face_is(y1):
    image = np.full((200, 200, 3), 255, np.uint8)
    drawn = annotate(image, analysis(Box(60, y1, 100, y1 + 40)))
    outside = np.ones((200, 200), bool)
    outside[max(0, y1 - 5) : y1 + 46, 55:106] = False
    assert (drawn[outside] < 100).sum() > 300  # the dark plate


def test_only_what_the_threshold_shows_is_written():
    image = np.full((200, 200, 3), 255, np.uint8)
    box = Box(60, 80, 140, 160)
    few, many = (annotate(image, analysis(box, threshold=t)) for t in (0.5, 0.05))
    assert (many < 128).sum() > (few < 128).sum()


def test_no_face_leaves_the_picture_as_it_is():
    image = np.full((30, 30, 3), 70, np.uint8)
    assert (annotate(image, analysis(size=(30, 30))) == image).all()


@pytest.mark.parametrize(
    ("media_type", "signature"), [("image/png", b"\x89PNG"), ("image/jpeg", b"\xff\xd8\xff")]
)
def test_the_file_is_of_the_asked_type(media_type, signature):
    made = annotated_picture(
        picture(80, 60), analysis(Box(5, 5, 45, 45), size=(80, 60)), media_type=media_type
    )
    assert made.startswith(signature)
    assert ImageFile(made, max_pixels=10_000).read(color=True).bgr.shape == (60, 80, 3)
