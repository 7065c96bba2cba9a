"""A baseline for benchmarks: the design of the original service, re-created from its description.

It runs OpenCV's default cascade on every pixel, loads the network from disk for every request, runs
one inference per face, and rewrites one JSON file for every stored image. It uses the network and
the server of this project, so only the design differs. The service does not use this module.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from flask import Flask, request

from app.settings import Settings
from app.vision.classifier import Classifier
from app.vision.detectors.cascade import CASCADE
from app.vision.image import crop_face
from app.vision.types import Box

MODEL = Path("models") / Settings().model
THRESHOLD = 0.5


def create_app() -> Flask:
    """The application. It stores the results in the file that ORIGINAL_STORE names."""
    store = Path(os.environ["ORIGINAL_STORE"])
    app = Flask(__name__)
    app.extensions |= {"start_worker": lambda: cv2.setNumThreads(1), "stop_worker": lambda: None}
    app.add_url_rule("/readyz", view_func=ready)
    app.add_url_rule("/v1/images", view_func=lambda: analyse(store), methods=["POST"])
    return app


def ready() -> dict[str, str]:
    """Answer GET /readyz."""
    return {"status": "ready"}


def analyse(store: Path) -> tuple[dict[str, Any], int]:
    """Answer POST /v1/images."""
    data = np.frombuffer(request.get_data(), np.uint8)
    image_bgr = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    gray = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
    classifier = Classifier.load(MODEL)
    faces: list[dict[str, Any]] = []
    for x, y, width, height in cv2.CascadeClassifier(str(CASCADE)).detectMultiScale(gray):
        box = Box(int(x), int(y), int(x + width), int(y + height))
        crop = crop_face(gray, box, size=classifier.card.input_size, scale=1.0)
        (probabilities,) = classifier.postprocess(classifier.predict(crop[np.newaxis]))
        emotions = dict(zip(classifier.card.labels, probabilities.round(2).tolist(), strict=True))
        emotions = {name: value for name, value in emotions.items() if value >= THRESHOLD}
        bbox = [str(edge) for edge in box.xyxy]
        faces.append({"face_id": len(faces) + 1, **emotions, "bbox": bbox})
    image = {"file_name": "a.jpg", "threshold": THRESHOLD, "faces": faces}
    with store.open("a+") as file:
        fcntl.flock(
            file, fcntl.LOCK_EX
        )  # the original has no lock and corrupts the file under load
        file.seek(0)
        images = json.loads(file.read() or "[]")
        file.truncate(0)
        file.write(json.dumps([*images, image]))
    return image, 201
