"""Export a training run to model folders with ONNX weights and a card.

    python -m training.export training/configs/custom_net_8.toml --data ../shared/data

The table [export] of the configuration names the folders and the precision of each. The texts of
the cards are in training/card.toml and in the table [card] of the configuration. A table
[folders."models/…"] replaces them for one folder; its `classes` limits a classifier to its first
classes. Normalisations and identity branches are folded into the convolutions, and the graph
converts grey bytes to floats. The temperature is fitted on the validation split. A folder is
written only if the service (app.vision) gives the outputs of PyTorch. It also contains the log and
the learning curve. evaluation.accuracy --write adds the figures to the card.
"""

import argparse
import copy
import hashlib
import shutil
import tempfile
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.classifier import Classifier
from app.vision.folders import WEIGHTS_FILE
from training.calibration import fit_temperature
from training.classification import Crops
from training.config import Config, TrainingError, read_config
from training.data import DataError
from training.data.photos import PhotosError
from training.detection import export as single_shot
from training.onnx_files import write_fp32, write_int8
from training.quantise import fine_tune_quantised
from training.runs import RUNS
from training.tasks import TASKS, load_data
from training.train import Run

COMMON_TEXTS = Path(__file__).with_name("card.toml")
CALIBRATION_IMAGES = 512
# Rounding changes a logit by about 1e-5. An incorrect layout changes it by about 1.
FP32_PARITY = 2e-3
# Minimum share of images with the same emotion. Quantisation changes it only if two emotions have
# nearly equal scores.
INT8_AGREEMENT = 0.95
# "qat int8" includes quantisation-aware fine-tuning: see training.quantise.
PRECISIONS = ("fp32", "int8", "qat int8")


def logits_of(net: nn.Module, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits (n, classes) of PyTorch for crops (n, size, size) in evaluation mode."""
    net.eval()
    with torch.no_grad():
        batches = torch.from_numpy(crops)[:, None].split(256)
        return torch.cat([net(batch.float()) for batch in batches]).numpy()


def assert_parity(
    expected: NDArray[np.float32], served: NDArray[np.float32], precision: str
) -> str:
    """Compare the served logits (n, classes) with those of PyTorch and describe the difference.

    Raises TrainingError if the difference is too large for the precision.
    """
    if precision == "fp32":
        difference = float(np.abs(served - expected).max())
        if not difference <= FP32_PARITY:
            raise TrainingError(f"the exported network differs from PyTorch by {difference:.2g}")
        return f"largest difference from PyTorch {difference:.1e}"
    same = float((served.argmax(axis=1) == expected.argmax(axis=1)).mean())
    if not same >= INT8_AGREEMENT:
        raise TrainingError(
            f"the 8-bit network and PyTorch give the same emotion for only {100 * same:.1f} %"
        )
    return f"the same emotion as PyTorch for {100 * same:.1f} %"


def write_models(config_path: Path, data_folder: Path) -> list[Path]:
    """Export the run of a configuration to its folders. A folder is replaced only if its export
    succeeds.

    Raises TrainingError if there is no run, or if the served outputs differ from PyTorch.
    """
    config = read_config(config_path)
    document = tomllib.loads(config_path.read_text("utf-8"))
    if not document.get("export", {}) or not set(document["export"].values()) <= {*PRECISIONS}:
        raise TrainingError(
            f"config {config_path}: [export] must name folders, each with one of {PRECISIONS}"
        )
    texts = tomllib.loads(COMMON_TEXTS.read_text("utf-8")) | document["card"]
    variants = document.get("folders", {})
    run = Run(config, load_data(data_folder, config, with_teachers=False), RUNS / config.name)
    if not run.resume():
        raise TrainingError(f"{run.folder} has no checkpoint: train first")
    written = []
    for folder, precision in (
        (Path(name), precision) for name, precision in document["export"].items()
    ):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            folder_texts = texts | variants.get(str(folder), {})
            new = Path(temporary) / folder.name
            new.mkdir()
            print(f"{folder}: {_write_folder(new, run, precision, folder_texts)}", flush=True)
            if folder.exists():
                shutil.rmtree(folder)
            written.append(new.rename(folder))
    return written


def _write_folder(folder: Path, run: Run, precision: str, texts: dict[str, Any]) -> str:
    for record in ("curve.png", "log.csv"):
        shutil.copy(run.folder / record, folder / record)
    if TASKS[run.config.task].kind == SINGLE_SHOT:
        document = training_document(run)
        texts = texts | {"training": document | {"method": texts.get("method", document["method"])}}
        return single_shot.write_folder(folder, run, precision, texts)
    return _write_classifier(folder, run, precision, texts)


def _write_classifier(folder: Path, run: Run, precision: str, texts: dict[str, Any]) -> str:
    data = cast(Crops, run.data)
    config, classes = run.config, texts.get("classes", run.config.classes)
    trained = run.average.module
    if classes < config.classes:
        trained = _first_classes(trained, classes)
    net = copy.deepcopy(trained).fold()
    if precision == "qat int8":
        net = fine_tune_quantised(net, data.crops, side=config.input_size, seed=config.seed)
        precision = "int8"
    path = folder / WEIGHTS_FILE
    write_fp32(net, config.input_size, path)
    if precision == "int8":
        write_int8(path, _calibration_crops(data), path)
    weights = path.read_bytes()
    task = TASKS[config.task]
    card = {
        "name": folder.name,
        "version": texts["version"],
        "kind": task.kind,
        "labels": list(task.labels[:classes]),
        "input": {"size": config.input_size, "channels": 1, "dtype": "uint8", "layout": "NCHW"},
        "crop_scale": texts["crop_scale"],
        "temperature": 1.0,  # is fitted below
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "parameters": sum(p.numel() for p in net.parameters()),
            "precision": precision,
        },
        "training": training_document(run) | {"machine": texts["machine"]},
        **{key: texts[key] for key in ("licence", "intended_use", "out_of_scope", "limits")},
    }
    write_card(folder, card)
    known = data.validation.labels < classes
    crops = data.validation.crops[known].numpy()[:, 0]
    served = Classifier.load(folder).predict(crops)
    parity = assert_parity(logits_of(trained, crops), served, precision)
    card["temperature"] = fit_temperature(served, data.validation.labels[known].numpy())
    write_card(folder, card)
    return f"{len(weights):,} bytes, {parity} on {len(crops)} crops"


def _first_classes(net: nn.Module, classes: int) -> nn.Module:
    """Return a copy of `net` that outputs the logits of its first `classes` only."""
    net = copy.deepcopy(net)
    head = nn.Linear(net.head.in_features, classes)
    with torch.no_grad():
        head.weight.copy_(net.head.weight[:classes])
        head.bias.copy_(net.head.bias[:classes])
    net.head = head
    return net


def _calibration_crops(data: Crops) -> NDArray[np.uint8]:
    """Return training crops, the same ones in every export."""
    generator = np.random.default_rng(data.config.seed)
    crops = data.plain_crops.numpy()[:, 0]
    count = min(CALIBRATION_IMAGES, len(crops))
    return crops[generator.choice(len(crops), count, replace=False)]


def training_document(run: Run) -> dict[str, Any]:
    """Return the field `training` of the card. `settings` has the complete configuration."""
    config = run.config
    targets = run.data.targets_name
    if config.teachers:
        teachers = ", ".join(Path(teacher).name for teacher in config.teachers)
        share = round(100 * config.teacher_share)
        targets = f"{100 - share} % {targets}, {share} % mean prediction of {teachers}"
    if config.teacher_runs:
        teachers = ", ".join(config.teacher_runs)
        share = round(100 * config.teacher_share)
        targets = (
            f"{100 - share} % {targets}, {share} % mean prediction of the networks {teachers} "
            "(100 % for faces without a label)"
        )
    return {
        "data": run.data.source,
        "pictures": run.data.size,
        "targets": targets,
        "method": _method(config),
        "epochs": run.epoch,
        "minutes": round(run.seconds / 60, 1),
        "settings": asdict(config),
        "command": _command(config),
    }


def _command(config: Config) -> str:
    path = f"training/configs/{config.name}.toml"
    if config.pack:
        return f"python -m training.detection.train {path} --out runs/gpu"
    return f"make {'distil' if config.teacher_runs else 'train'} CONFIG={path}"


def _method(config: Config) -> str:
    start = "from random weights"
    if config.start or config.pretrained:
        start = f"from the weights of the run {config.start}" if config.start else "from ImageNet"
    images = "scenes" if config.scenes else "crops"
    sides = [f"of {side} pixels until {until:.0%} of the schedule" for until, side in config.sizes]
    return f"{start}, on {images} {', '.join([*sides, f'of {config.input_size} pixels'])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    try:
        write_models(arguments.config, arguments.data)
    except (TrainingError, DataError, PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
