import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from app.deadline import Deadline
from app.errors import DeadlineExceeded
from app.settings import ROOT
from app.vision import draw
from app.vision.draw import annotate, annotated_image
from app.vision.image import ImageFile
from app.vision.types import Analysis, Box, Face, ModelRef, Scores
from tests.conftest import image_file


def analysis(*boxes, size=(200, 200), threshold=0.2):
    faces = tuple(Face(box, Scores({"neutral": 0.1, "happiness": 0.9})) for box in boxes)
    return Analysis("a.png", threshold, *size, faces, ModelRef("m", "1", "0" * 64), "haar")


@pytest.mark.parametrize("background", [0, 128, 255])
def test_box_is_visible_on_any_background(background):
    image = np.full((200, 200, 3), background, np.uint8)
    drawn = annotate(image, analysis(Box(60, 80, 140, 160)))
    assert (image == background).all()  # the original is unchanged
    edge = drawn[120, 55:66].astype(int)
    assert np.abs(edge - background).max() > 90
    assert (drawn[110:130, 90:110] == background).all()  # the face itself is not covered


@pytest.mark.parametrize(
    "box",
    [Box(-10, -10, 50, 50), Box(150, 150, 230, 230), Box(0, 0, 200, 200), Box(0, 190, 5, 199)],
)
@pytest.mark.parametrize("size", [(200, 200), (20, 20), (1, 1), (3000, 40)])
def test_labels_stay_inside_the_image(box, size):
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    assert annotate(image, analysis(box, size=size)).shape == image.shape


@pytest.mark.parametrize("y1", [0, 80, 160])
def test_label_is_drawn_for_a_face_at_any_position(y1):
    image = np.full((200, 200, 3), 255, np.uint8)
    drawn = annotate(image, analysis(Box(60, y1, 100, y1 + 40)))
    outside = np.ones((200, 200), bool)
    outside[max(0, y1 - 5) : y1 + 46, 55:106] = False
    assert (drawn[outside] < 100).sum() > 300  # the dark plate


def test_label_has_more_text_at_a_lower_threshold():
    image = np.full((200, 200, 3), 255, np.uint8)
    box = Box(60, 80, 140, 160)
    one_line, two_lines = (annotate(image, analysis(box, threshold=t)) for t in (0.5, 0.05))
    assert (two_lines < 128).sum() > (one_line < 128).sum()


def drawn_texts(monkeypatch, emotions, threshold):
    """The texts that are drawn for one face."""
    texts = []
    monkeypatch.setattr(draw.cv2, "putText", lambda canvas, text, *_: texts.append(text))
    faces = (Face(Box(60, 80, 140, 160), emotions),)
    drawn = Analysis("a.png", threshold, 400, 400, faces, ModelRef("m", "1", "0" * 64), "haar")
    annotate(np.full((400, 400, 3), 255, np.uint8), drawn)
    return texts


def test_all_independent_labels_that_reach_the_threshold_are_drawn(monkeypatch):
    emotions = Scores({"Anger": 0.1, "Peace": 0.7, "Doubt/Confusion": 0.9}, exclusive=False)
    assert drawn_texts(monkeypatch, emotions, 0.5) == ["Doubt/Confusion 90%", "Peace 70%"]
    assert drawn_texts(monkeypatch, emotions, 0.95) == ["face 1"]


def test_exclusive_labels_are_drawn_with_their_probabilities(monkeypatch):
    emotions = Scores({"neutral": 0.25, "happiness": 0.75})
    assert drawn_texts(monkeypatch, emotions, 0.5) == ["happiness 75%"]
    assert drawn_texts(monkeypatch, emotions, 0.2) == ["happiness 75%", "neutral 25%"]


def test_image_without_faces_is_unchanged():
    image = np.full((30, 30, 3), 70, np.uint8)
    assert (annotate(image, analysis(size=(30, 30))) == image).all()


@pytest.mark.parametrize(
    ("media_type", "signature"), [("image/png", b"\x89PNG"), ("image/jpeg", b"\xff\xd8\xff")]
)
def test_annotated_image_has_the_requested_media_type(media_type, signature):
    encoded = annotated_image(
        image_file(80, 60), analysis(Box(5, 5, 45, 45), size=(80, 60)), media_type=media_type
    )
    assert encoded.startswith(signature)
    assert ImageFile(encoded, max_pixels=10_000).read(color=True).bgr.shape == (60, 80, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_image_above_the_pixel_limit_is_drawn_smaller_with_scaled_boxes(mode):
    file = io.BytesIO()
    Image.new("RGB", (400, 300)).convert(mode).save(file, "TIFF")
    box = Box(100, 100, 200, 200)
    encoded = annotated_image(
        file.getvalue(),
        analysis(box, size=(400, 300)),
        media_type="image/png",
        max_output_pixels=30_000,
    )
    drawn = ImageFile(encoded, max_pixels=30_000).read(color=True).bgr
    assert drawn.shape == (150, 200, 3)
    rows, columns = np.nonzero(drawn[75:, :].any(axis=2))  # below the label
    assert (columns.min(), columns.max(), rows.max()) == pytest.approx((50, 100, 25), abs=3)


def faces_in_a_grid(columns, rows, side, gap, left=40, top=60):
    step = side + gap
    return [
        Box(
            left + column * step,
            top + row * step,
            left + column * step + side,
            top + row * step + side,
        )
        for row in range(rows)
        for column in range(columns)
    ]


@pytest.mark.parametrize(
    ("size", "boxes", "room"),
    [
        ((1200, 800), faces_in_a_grid(3, 2, 200, 120), True),
        ((1200, 800), faces_in_a_grid(6, 4, 90, 80), False),
        ((4000, 3000), faces_in_a_grid(12, 9, 200, 100), False),
        ((700, 300), faces_in_a_grid(5, 1, 100, 10, left=60, top=0), False),
        ((700, 300), faces_in_a_grid(5, 1, 100, 10, left=60, top=199), False),
        ((500, 500), [Box(0, 0, 120, 120), Box(380, 0, 500, 120), Box(0, 380, 120, 500)], True),
    ],
)
@pytest.mark.parametrize("background", [0, 128, 255])
def test_labels_cover_no_face_and_no_other_label(size, boxes, room, background):
    image = np.full((size[1], size[0], 3), background, np.uint8)
    drawn = annotate(image, analysis(*boxes, size=size))
    line = 3 + round(3 * max(size) / 1000)
    for box in boxes:
        x1, y1, x2, y2 = map(round, box.xyxy)
        inside = drawn[y1 + line : y2 - line, x1 + line : x2 - line]
        assert (inside == background).all()
    # All labels have the same text. Without overlaps, the number of bright pixels is proportional
    # to the number of labels. The font is smaller if there is not enough room.
    if background != 255:
        single = annotate(image, analysis(boxes[0], size=size))
        bright, bright_single = ((each.min(axis=2) > 230).sum() for each in (drawn, single))
        if room:
            assert bright == pytest.approx(len(boxes) * bright_single, rel=0.1)
        else:
            assert 0 < bright < len(boxes) * bright_single


@pytest.mark.parametrize("side", [120, 400, 1000, 4000])
@pytest.mark.parametrize("background", ["black", "white", "noise"])
def test_labels_are_readable_on_any_size_and_background(side, background):
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    image = {"black": noise * 0, "white": noise | 255, "noise": noise}[background]
    box = Box(side * 0.4, side * 0.5, side * 0.7, side * 0.9)
    drawn = annotate(image, analysis(box, size=(side, side)))
    changed = (drawn != image).any(axis=2)
    changed[round(side * 0.5) - max(4, side // 250) :] = False  # the box and the rows below
    if background != "black":  # a dark plate is not visible on black
        rows, columns = np.nonzero(changed)
        plate = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.median(plate) <= 60
    text = (drawn.min(axis=2) > 200) & changed
    height = np.ptp(np.nonzero(text)[0]) + 1
    assert height >= max(7, 0.012 * side), "the font size must grow with the image"


def test_labels_are_face_numbers_if_the_image_is_too_small():
    image = np.full((40, 40, 3), 128, np.uint8)
    boxes = [Box(2, 20, 18, 38), Box(22, 20, 38, 38)]
    drawn = annotate(image, analysis(*boxes, size=(40, 40)))
    assert (drawn[:18] == 255).any()
    assert not (drawn[24:34, 6:14] == 255).any()


GOLDEN = Path(__file__).parent / "golden"
# OpenCV versions smooth edges differently: 1 % of the values may differ by more than 40, and the
# mean difference may be up to 1.
MAX_SHARE, LARGE_DIFFERENCE, MAX_MEAN = 0.01, 40, 1.0


def background_image(size):
    """Bands of colour from dark to bright. The files are small."""
    x, y = np.meshgrid(np.arange(size[0]) * 8 // size[0], np.arange(size[1]) * 8 // size[1])
    return (36 * np.stack([x, (x + y) // 2, 7 - y], axis=2)).astype(np.uint8)


SCENES = {
    "one": ((320, 240), [Box(120, 90, 210, 200)], 0.05),
    "group": ((640, 360), faces_in_a_grid(4, 2, 100, 40, left=30, top=40), 0.5),
    "edges": (
        (400, 300),
        [Box(-20, -20, 80, 90), Box(330, 10, 400, 100), Box(300, 220, 380, 310)],
        0.5,
    ),
    "nothing shown": ((200, 200), [Box(60, 80, 140, 160)], 0.95),
    "small": ((60, 40), [Box(5, 12, 25, 38), Box(32, 12, 52, 38)], 0.5),
}


@pytest.mark.parametrize("name", SCENES)
def test_drawing_matches_the_golden_image(name):
    size, boxes, threshold = SCENES[name]
    drawn = annotate(background_image(size), analysis(*boxes, size=size, threshold=threshold))
    file = f"draw {name}.png".replace(" ", "-")
    golden = cv2.imread(str(GOLDEN / file))
    (ROOT / "artifacts").mkdir(exist_ok=True)
    # If the drawing has changed on purpose, review this file and copy it to `golden`.
    cv2.imwrite(str(ROOT / "artifacts" / file), drawn)
    assert golden is not None
    assert golden.shape == drawn.shape
    difference = np.abs(golden.astype(int) - drawn)
    assert (difference > LARGE_DIFFERENCE).mean() <= MAX_SHARE
    assert difference.mean() <= MAX_MEAN


def test_drawing_stops_at_the_deadline():
    with pytest.raises(DeadlineExceeded):
        annotate(np.zeros((50, 50, 3), np.uint8), analysis(Box(1, 1, 9, 9)), Deadline(0))
    with pytest.raises(DeadlineExceeded):
        annotated_image(
            image_file(200, 200), analysis(), media_type="image/png", deadline=Deadline(0)
        )
