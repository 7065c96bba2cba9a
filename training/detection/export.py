"""A trained one-pass network as a model folder."""

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from app.vision.card import SINGLE_SHOT, write_card
from app.vision.folders import WEIGHTS_FILE
from app.vision.image import letterbox
from app.vision.single_shot import SingleShotNet
from training.calibration import fit_logistic, fit_temperature
from training.config import TrainingError
from training.detection import graph
from training.detection.data import Predict, Scenes, detections, predictor, tallies
from training.nets.single_shot import SingleShot
from training.onnx_files import write_any_side
from training.votes import LABELS

if TYPE_CHECKING:
    from training.train import Run

SIDES = (320, 640)
PARITY = 2e-3  # of answers, most of which are between -10 and 10
PARITY_PICTURES = 20
SUREST = 1 - 1e-9


def write_folder(folder: Path, run: "Run", said: dict[str, Any]) -> str:
    """Weights and card. Scores are calibrated on the validation photographs at both sizes, the
    temperature on validation portraits and scenes. Raises TrainingError when the served path
    answers otherwise than PyTorch; says what they differ by."""
    data = cast(Scenes, run.data)
    net = copy.deepcopy(run.average.module)
    write = graph.write if isinstance(net, SingleShot) else write_any_side
    write(net, folder / WEIGHTS_FILE)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    card = {
        "name": folder.name,
        "version": said["version"],
        "kind": SINGLE_SHOT,
        "labels": list(LABELS[: run.config.classes]),
        "input": {"sizes": list(SIDES), "channels": 3, "dtype": "uint8", "layout": "NHWC, BGR"},
        "temperature": 1.0,  # this and the score until the served answers are known, below
        "score": {"scale": 1.0, "bias": 0.0},
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "parameters": sum(p.numel() for p in net.parameters()),
            "precision": "fp32",
        },
        "training": said["training"] | {"machine": said["machine"]},
        **{key: said[key] for key in ("licence", "intended_use", "out_of_scope", "limits")},
    }
    write_card(folder, card)
    served = SingleShotNet.load(folder).predict
    difference = _difference(net, served, data)
    if not difference <= PARITY:
        raise TrainingError(f"the exported net differs from PyTorch by {difference:.2g}")
    scale, bias = fit_score(served, data)
    card["score"] = {"scale": scale, "bias": bias}
    pairs = [
        (logits, label)
        for made in (data.portraits, data.validation_scenes)
        for logits, label in data.named(served, made)
        if logits is not None
    ]
    if not pairs:
        raise TrainingError("the net finds none of the faces that it should name: train longer")
    card["temperature"] = fit_temperature(
        np.stack([logits for logits, _ in pairs]), np.array([label for _, label in pairs])
    )
    write_card(folder, card)
    SingleShotNet.load(folder)
    return f"{len(weights):,} bytes, answers within {difference:.1e} of PyTorch's"


def _difference(net: nn.Module, served: Predict, data: Scenes) -> float:
    expected = predictor(net)
    differences = []
    for picture in data.photographs[:PARITY_PICTURES]:
        for side in SIDES:
            square = letterbox(picture.image, side)[0][np.newaxis]
            differences.append(np.abs(served(square) - expected(square)).max())
    return float(max(differences))


def fit_score(served: Predict, data: Scenes) -> tuple[float, float]:
    """Scale and bias that make the scores of finds in photographs the probability of a face."""
    logits: list[NDArray[np.float64]] = []
    hits: list[NDArray[np.bool_]] = []
    for side in SIDES:
        found = detections(served, data.photographs, side, data.head.find)
        for each in tallies(found, data.photographs):
            scores = each.scores.clip(max=SUREST)  # many votes make it 1 to the last bit
            logits.append(np.log(scores / (1 - scores)))
            hits.append(each.hits)
    return fit_logistic(np.concatenate(logits), np.concatenate(hits))
