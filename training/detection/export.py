"""Export of a trained single-shot network to a model folder."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from app.vision.card import SINGLE_SHOT, write_card
from app.vision.folders import WEIGHTS_FILE
from app.vision.image import letterbox
from app.vision.single_shot import SingleShotNet
from testbed.boxes import average_precision
from training.calibration import fit_logistic, fit_temperature
from training.config import TrainingError
from training.detection import graph, yolo
from training.detection.packed import PackedScenes
from training.detection.validation import (
    Predict,
    Validation,
    detections,
    matches_by_image,
    predictor,
)
from training.ferplus_labels import LABELS
from training.nets.single_shot import SingleShot
from training.nets.yolov3_tiny import HEADS as YOLO_HEADS
from training.nets.yolov3_tiny import YoloV3Tiny
from training.onnx_files import write_any_side, write_int8_any_side

if TYPE_CHECKING:
    from training.train import Run

PARITY = 2e-3  # maximum difference; most outputs are between -10 and 10
PARITY_IMAGES = 20
MAX_INT8_LOSS = 0.02  # maximum decrease of the average precision by quantisation
CALIBRATION_SCENES = 96
MAX_SCORE = 1 - 1e-9


def write_folder(folder: Path, run: "Run", precision: str, texts: dict[str, Any]) -> str:
    """Write weights and card. Return a description of the difference from PyTorch.

    Scores are calibrated on the validation photographs, at the sizes in `texts`. The temperature is
    fitted on validation portraits and scenes. Raises TrainingError if the served outputs differ
    from PyTorch.
    """
    data = cast(Validation, run.data)
    net = copy.deepcopy(run.average.module)
    write_weights(net, data, folder / WEIGHTS_FILE, precision)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    sizes = texts["sizes"]
    card = {
        "name": folder.name,
        "version": texts["version"],
        "kind": SINGLE_SHOT,
        "labels": list(LABELS[: run.config.classes]),
        "input": {"sizes": sizes, "channels": 3, "dtype": "uint8", "layout": "NHWC, BGR"},
        **({"decoder": yolo.decoder()} if isinstance(net, YoloV3Tiny) else {}),
        "temperature": 1.0,  # this and the score are fitted below
        "score": {"scale": 1.0, "bias": 0.0},
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "parameters": sum(p.numel() for p in net.parameters()),
            "precision": precision,
        },
        "training": texts["training"] | {"machine": texts["machine"]},
        **{key: texts[key] for key in ("licence", "intended_use", "out_of_scope", "limits")},
    }
    write_card(folder, card)
    served = SingleShotNet.load(folder).predict
    parity = _parity(net, served, data, sizes, precision)
    scale, bias = fit_score(served, data, sizes)
    card["score"] = {"scale": scale, "bias": bias}
    pairs = [
        (logits, label)
        for images in (data.portraits, data.validation_scenes)
        for logits, label in data.matched_expressions(served, images)
        if logits is not None
    ]
    if not pairs:
        raise TrainingError("the network finds no face with a known expression: train longer")
    card["temperature"] = fit_temperature(
        np.stack([logits for logits, _ in pairs]), np.array([label for _, label in pairs])
    )
    write_card(folder, card)
    SingleShotNet.load(folder)
    return f"{len(weights):,} bytes, {parity}"


def write_weights(net: nn.Module, data: Validation, path: Path, precision: str) -> None:
    """Write the weights of a network. Raises TrainingError if it cannot have this precision."""
    if isinstance(net, SingleShot):
        if precision != "fp32":
            raise TrainingError("single_shot is exported as fp32")
        graph.write(net, path)
        return
    write_any_side(net, path)
    if precision == "int8":
        if not isinstance(data, PackedScenes):
            raise TrainingError("int8 needs a pack of scenes for the calibration of activations")
        write_int8_any_side(path, data.calibration_squares(CALIBRATION_SCENES), path, YOLO_HEADS)


def _parity(
    net: nn.Module, served: Predict, data: Validation, sizes: Sequence[int], precision: str
) -> str:
    """Compare the served outputs with PyTorch and describe the difference. Raises TrainingError if
    it is too large for the precision."""
    expected = predictor(net)
    if precision == "fp32":
        difference = _difference(expected, served, data, sizes)
        if not difference <= PARITY:
            raise TrainingError(f"the exported network differs from PyTorch by {difference:.2g}")
        return f"largest difference from PyTorch {difference:.1e}"
    fp32, int8 = (_average_precision(each, data, sizes[-1]) for each in (expected, served))
    if not int8 >= fp32 - MAX_INT8_LOSS:
        raise TrainingError(f"int8 lowers the average precision from {fp32:.3f} to {int8:.3f}")
    return f"average precision of faces {int8:.3f}; fp32: {fp32:.3f}"


def _difference(
    expected: Predict, served: Predict, data: Validation, sizes: Sequence[int]
) -> float:
    differences = []
    for photograph in data.photographs[:PARITY_IMAGES]:
        for side in sizes:
            square = letterbox(photograph.image, side)[0][np.newaxis]
            differences.append(np.abs(served(square) - expected(square)).max())
    return float(max(differences))


def _average_precision(predict: Predict, data: Validation, side: int) -> float:
    found = detections(predict, data.photographs, side, data.head.find)
    return average_precision(matches_by_image(found, data.photographs))


def fit_score(served: Predict, data: Validation, sizes: Sequence[int]) -> tuple[float, float]:
    """Fit the scale and bias that convert scores to the probability of a face, on photographs."""
    logits: list[NDArray[np.float64]] = []
    hits: list[NDArray[np.bool_]] = []
    for side in sizes:
        found = detections(served, data.photographs, side, data.head.find)
        for each in matches_by_image(found, data.photographs):
            scores = each.scores.clip(max=MAX_SCORE)  # combined scores can be rounded to 1
            logits.append(np.log(scores / (1 - scores)))
            hits.append(each.hits)
    return fit_logistic(np.concatenate(logits), np.concatenate(hits))
