"""The original service's way of answering, re-created from its description as a baseline.

OpenCV's default cascade on every pixel, the network loaded from disk at every request, one
inference a face, and one JSON file that is rewritten whole at every insert. Written anew for this
comparison, with our network and under our server, so that the way is what differs; nothing of it is
used by the service.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from flask import Flask, request

from app.vision.classifier import Classifier
from app.vision.detectors.cascade import CASCADE
from app.vision.image import crop_face
from app.vision.types import Box

MODEL = Path("models/custom_net_8")
THRESHOLD = 0.5


def create_app() -> Flask:
    """The application, which stores its answers in the file that ORIGINAL_STORE names."""
    store = Path(os.environ["ORIGINAL_STORE"])
    app = Flask(__name__)
    app.extensions |= {"start_worker": lambda: cv2.setNumThreads(1), "stop_worker": lambda: None}
    app.add_url_rule("/readyz", view_func=ready)
    app.add_url_rule("/v1/images", view_func=lambda: analyse(store), methods=["POST"])
    return app


def ready() -> dict[str, str]:
    return {"status": "ready"}


def analyse(store: Path) -> tuple[dict[str, Any], int]:
    data = np.frombuffer(request.get_data(), np.uint8)
    image_bgr = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    gray = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
    classifier = Classifier.load(MODEL)
    faces: list[dict[str, Any]] = []
    for x, y, width, height in cv2.CascadeClassifier(str(CASCADE)).detectMultiScale(gray):
        box = Box(int(x), int(y), int(x + width), int(y + height))
        crop = crop_face(gray, box, size=classifier.card.input_size, scale=1.0)
        (probabilities,) = classifier.postprocess(classifier.predict(crop[np.newaxis]))
        shown = dict(zip(classifier.card.labels, probabilities.round(2).tolist(), strict=True))
        shown = {emotion: value for emotion, value in shown.items() if value >= THRESHOLD}
        faces.append({"face_id": len(faces) + 1, **shown, "bbox": [str(edge) for edge in box.xyxy]})
    image = {"file_name": "a.jpg", "threshold": THRESHOLD, "faces": faces}
    with store.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the original has none, and spoils the file under load
        file.seek(0)
        images = json.loads(file.read() or "[]")
        file.truncate(0)
        file.write(json.dumps([*images, image]))
    return image, 201
