"""A trained one-pass network as a model folder."""

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
from training.nets.single_shot import SingleShot
from training.nets.yolov3_tiny import HEADS as YOLO_HEADS
from training.nets.yolov3_tiny import YoloV3Tiny
from training.onnx_files import write_any_side, write_int8_any_side
from training.votes import LABELS

if TYPE_CHECKING:
    from training.train import Run

PARITY = 2e-3  # of answers, most of which are between -10 and 10
PARITY_IMAGES = 20
INT8_LOSS = 0.02  # of average precision that 8 bits may cost
CALIBRATION_SCENES = 96
SUREST = 1 - 1e-9


def write_folder(folder: Path, run: "Run", precision: str, said: dict[str, Any]) -> str:
    """Write weights and card; describe how close the served answers are to PyTorch's.

    Scores are calibrated on the validation photographs at the sizes that `said` names, the
    temperature on validation portraits and scenes. Raises TrainingError when the served answers
    differ from PyTorch's.
    """
    data = cast(Validation, run.data)
    net = copy.deepcopy(run.average.module)
    write_weights(net, data, folder / WEIGHTS_FILE, precision)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    sizes = said["sizes"]
    card = {
        "name": folder.name,
        "version": said["version"],
        "kind": SINGLE_SHOT,
        "labels": list(LABELS[: run.config.classes]),
        "input": {"sizes": sizes, "channels": 3, "dtype": "uint8", "layout": "NHWC, BGR"},
        **({"decoder": yolo.decoder()} if isinstance(net, YoloV3Tiny) else {}),
        "temperature": 1.0,  # this and the score until the served answers are known, below
        "score": {"scale": 1.0, "bias": 0.0},
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "parameters": sum(p.numel() for p in net.parameters()),
            "precision": precision,
        },
        "training": said["training"] | {"machine": said["machine"]},
        **{key: said[key] for key in ("licence", "intended_use", "out_of_scope", "limits")},
    }
    write_card(folder, card)
    served = SingleShotNet.load(folder).predict
    parity = _parity(net, served, data, sizes, precision)
    scale, bias = fit_score(served, data, sizes)
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
    return f"{len(weights):,} bytes, {parity}"


def write_weights(net: nn.Module, data: Validation, path: Path, precision: str) -> None:
    """Raises TrainingError for int8 weights of a net that is not quantised."""
    if isinstance(net, SingleShot):
        if precision != "fp32":
            raise TrainingError("single_shot is exported as fp32")
        graph.write(net, path)
        return
    write_any_side(net, path)
    if precision == "int8":
        if not isinstance(data, PackedScenes):
            raise TrainingError("int8 needs a pack of scenes, on which ranges are measured")
        write_int8_any_side(path, data.calibration_squares(CALIBRATION_SCENES), path, YOLO_HEADS)


def _parity(
    net: nn.Module, served: Predict, data: Validation, sizes: Sequence[int], precision: str
) -> str:
    """How close the served answers are to PyTorch's. Raises TrainingError where the precision does
    not explain the difference."""
    expected = predictor(net)
    if precision == "fp32":
        difference = _difference(expected, served, data, sizes)
        if not difference <= PARITY:
            raise TrainingError(f"the exported net differs from PyTorch by {difference:.2g}")
        return f"answers within {difference:.1e} of PyTorch's"
    whole, rounded = (_average_precision(each, data, sizes[-1]) for each in (expected, served))
    if not rounded >= whole - INT8_LOSS:
        raise TrainingError(f"8 bits lower the average precision from {whole:.3f} to {rounded:.3f}")
    return f"average precision of faces {rounded:.3f}, {whole:.3f} before rounding"


def _difference(
    expected: Predict, served: Predict, data: Validation, sizes: Sequence[int]
) -> float:
    differences = []
    for picture in data.photographs[:PARITY_IMAGES]:
        for side in sizes:
            square = letterbox(picture.image, side)[0][np.newaxis]
            differences.append(np.abs(served(square) - expected(square)).max())
    return float(max(differences))


def _average_precision(predict: Predict, data: Validation, side: int) -> float:
    found = detections(predict, data.photographs, side, data.head.find)
    return average_precision(matches_by_image(found, data.photographs))


def fit_score(served: Predict, data: Validation, sizes: Sequence[int]) -> tuple[float, float]:
    """Scale and bias that make the scores of finds in photographs the probability of a face."""
    logits: list[NDArray[np.float64]] = []
    hits: list[NDArray[np.bool_]] = []
    for side in sizes:
        found = detections(served, data.photographs, side, data.head.find)
        for each in matches_by_image(found, data.photographs):
            scores = each.scores.clip(max=SUREST)  # many votes make it 1 to the last bit
            logits.append(np.log(scores / (1 - scores)))
            hits.append(each.hits)
    return fit_logistic(np.concatenate(logits), np.concatenate(hits))
