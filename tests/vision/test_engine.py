"""The engine: analyses, detection options, concurrency and pipelines, with stub models."""

import io
import threading
from dataclasses import replace

import cv2
import pytest
from PIL import Image

from app.deadline import NEVER
from app.errors import ImageTooLarge, UnknownDetector
from app.vision.card import CLASSIFIER
from app.vision.detectors import DETECTORS
from app.vision.pipelines import PIPELINES
from app.vision.pipelines.result import PipelineResult
from app.vision.types import (
    Box,
    Detection,
    DetectionOptions,
    Dimensions,
    Face,
    Frame,
    Person,
    Scores,
)
from tests.conftest import StubDetector, analysis_request, image_file
from tests.vision.conftest import analyse


def test_analysis_contains_faces_model_detector_and_timings(make_engine):
    found = analyse(make_engine(), image_file(100, 60, gray=250))
    assert (found.width, found.height, len(found.faces)) == (100, 60, 2)
    assert found.model.name == "stub_8"
    assert found.detector == "stub"
    assert list(found.timings_ms) == ["decode", "detect", "classify"]
    face = found.faces[0]
    assert face.dominant == "happiness"
    assert len(face.emotions) == 8
    assert face.detection_score == 0.75


def test_faces_are_ordered_by_size_and_limited_to_max_faces(make_engine, monkeypatch):
    class Sizes(StubDetector):
        def detect(self, raster, min_face_px, deadline=NEVER):
            sides = [(0, 10), (20, 30), (60, 20), (80, 20)]
            return [Detection(Box(x, 0, x + side, side)) for x, side in sides]

    monkeypatch.setitem(DETECTORS, "stub", Sizes)
    found = analyse(make_engine(max_faces=3), image_file(100, 60))
    assert [face.box.xyxy for face in found.faces] == [
        (20, 0, 50, 30),
        (60, 0, 80, 20),
        (80, 0, 100, 20),
    ]


BOXES = [(0, 10, 0.9), (20, 30, 0.2), (60, 20, 0.6), (80, 20, 0.7)]  # x, side, score


class Scored(StubDetector):
    def detect(self, raster, min_face_px, deadline=NEVER):
        return [Detection(Box(x, 0, x + side, side), score) for x, side, score in BOXES]


@pytest.mark.parametrize(
    ("options", "sides", "dropped"),
    [
        ({}, [30, 20, 20, 10], {}),
        ({"min_face_px": 20}, [30, 20, 20], {"min_face_px": 1}),
        ({"min_confidence": 0.65}, [20, 10], {"min_confidence": 2}),
        ({"max_faces": 1}, [30], {"max_faces": 3}),
        # Each dropped face is counted once, and does not count towards max_faces.
        (
            {"min_face_px": 15, "min_confidence": 0.5, "max_faces": 1},
            [20],
            {"min_face_px": 1, "min_confidence": 1, "max_faces": 1},
        ),
        ({"min_face_px": 5000}, [], {"min_face_px": 4}),
    ],
)
def test_detection_options_select_the_faces(make_engine, monkeypatch, options, sides, dropped):
    monkeypatch.setitem(DETECTORS, "stub", Scored)
    found = analyse(make_engine(), image_file(100, 60), detection=DetectionOptions(**options))
    assert [face.box.width for face in found.faces] == sides
    assert found.dropped == {"min_face_px": 0, "min_confidence": 0, "max_faces": 0} | dropped


def test_min_face_share_of_the_detector_is_the_default_of_min_face_px(make_engine, monkeypatch):
    class Large(Scored):
        min_face_share = 0.15

    monkeypatch.setitem(DETECTORS, "stub", Large)
    found = analyse(make_engine(), image_file(100, 60))
    assert found.dropped["min_face_px"] == 1
    found = analyse(make_engine(), image_file(100, 60), detection=DetectionOptions(min_face_px=1))
    assert len(found.faces) == 4


def test_image_is_read_at_the_scale_that_the_smallest_face_needs(make_engine, monkeypatch):
    """Boxes are still in pixels of the original. A face of 400 pixels must fill a crop of 48."""
    seen = []

    class Half(StubDetector):
        def scale_for(self, longer_side, min_face_px):
            assert longer_side == 1600
            return 20 / min_face_px

        def detect(self, raster, min_face_px, deadline=NEVER):
            seen.append((raster.gray.shape, raster.scale, min_face_px))
            return [Detection(Box(800, 0, 1600, 800))]

    data = io.BytesIO()
    half = Image.new("L", (1600, 1200))
    half.paste(255, (800, 0, 1600, 1200))
    half.save(data, "JPEG")
    monkeypatch.setitem(DETECTORS, "stub", Half)
    engine = make_engine(max_pixels=2_000_000)
    found = analyse(engine, data.getvalue(), detection=DetectionOptions(min_face_px=400))
    assert seen == [((150, 200), 0.125, 400)]
    assert (found.width, found.height) == (1600, 1200)
    assert found.faces[0].box.xyxy == (800, 0, 1600, 800)
    assert found.faces[0].emotions["happiness"] > 0.99  # bright: the right half was cropped


def test_unknown_detector_error_lists_the_known_detectors(make_engine):
    with pytest.raises(
        UnknownDetector, match="known: haar, haar_default, none, single_shot, stub, yunet"
    ):
        make_engine().detector("nope")


def test_file_with_too_many_bytes_is_rejected_before_decoding(make_engine):
    with pytest.raises(ImageTooLarge, match="100,000"):
        analyse(make_engine(), b"\xff\xd8\xff" + bytes(100_000))


def test_constructor_does_not_change_the_threads_of_opencv(make_engine, monkeypatch):
    monkeypatch.setattr(cv2, "setNumThreads", lambda count: pytest.fail("changed"))
    make_engine()


def test_concurrent_images_above_the_pixel_limit_are_analysed_one_after_the_other(
    make_engine, monkeypatch
):
    peak = running = 0
    lock = threading.Lock()
    never = threading.Event()

    class Counting(StubDetector):
        def detect(self, raster, min_face_px, deadline=NEVER):
            nonlocal peak, running
            with lock:
                running += 1
                peak = max(peak, running)
            never.wait(0.2)
            with lock:
                running -= 1
            return []

    monkeypatch.setitem(DETECTORS, "stub", Counting)

    def peak_of_three(side):
        nonlocal peak
        peak = 0
        engine = make_engine(max_pixels=10_000)
        threads = [
            threading.Thread(target=analyse, args=(engine, image_file(side, side)))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return peak

    assert peak_of_three(90) == 1
    assert peak_of_three(20) > 1


FRAME = Frame("job", position_ms=400, index=2)
PERSON = Person(
    Box(0, 0, 40, 60),
    Scores({"Peace": 0.9, "Doubt/Confusion": 0.7}, exclusive=False),
    Dimensions(6.0, 4.0, 5.0),
    face=0,
    track_id=7,
)
TRACKED = Face(Box(5, 5, 45, 45), Scores({"neutral": 1.0}), track_id=3)


class Persons:
    """A pipeline that gets its model by kind and finds one person."""

    name = "persons"
    title = "Persons"
    description = "for tests"
    model_kind = CLASSIFIER
    detector_name = "none"

    def __init__(self, classifier, options):
        self.model = classifier.card.ref
        self.options = options

    @classmethod
    def create(cls, source, options):
        return cls(source.model(cls.model_kind, options.model), options)

    def run(self, file, stopwatch, deadline):
        assert self.options.detection.max_faces == 5  # the engine's limit
        dropped = {"max_faces": 1}
        return PipelineResult((100, 60), (TRACKED,), dropped, rotation=90, persons=(PERSON,))

    def warm_up(self):
        pass


def test_analysis_contains_persons_tracks_and_the_frame(make_engine, monkeypatch):
    """A pipeline is one class and one entry in PIPELINES."""
    monkeypatch.setitem(PIPELINES, "persons", Persons)
    request = analysis_request(
        image_file(100, 60), pipeline="persons", model="stub_5", threshold=0.3
    )
    found = make_engine(max_faces=5).analyse(replace(request, frame=FRAME))
    assert (found.faces, found.persons, found.frame) == ((TRACKED,), (PERSON,), FRAME)
    assert (found.dropped, found.rotation, found.threshold) == ({"max_faces": 1}, 90, 0.3)
    assert (found.model.name, found.detector, found.file_name) == ("stub_5", "none", "a.png")


def test_still_image_has_no_frame_persons_or_tracks(make_engine):
    found = analyse(make_engine(), image_file(100, 60))
    assert (found.persons, found.frame) == ((), None)
    assert [face.track_id for face in found.faces] == [None, None]
