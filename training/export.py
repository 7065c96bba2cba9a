"""Turn a training run into a model folder: ONNX weights and a card.

    python -m training.export training/configs/custom_net_8.toml --data ../shared/data/ferplus

Folds the net, exports it with the cast from grey bytes inside, fits the temperature on the
validation split, and refuses to finish unless the served path (app.vision) gives PyTorch's
answer. The run's log and learning curve go along; evaluation.accuracy --write adds the figures.
"""

import argparse
import copy
import hashlib
import shutil
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.vision.card import write_card
from app.vision.classifier import Classifier
from app.vision.session import OnnxSession
from training import ferplus
from training.train import RUNS, Run, TrainingError, load_data, read_config

MODELS = Path("models")
WEIGHTS_FILE = "model.onnx"
OPSET = 18
# Folding and another order of sums move a logit by some 1e-5; a wrong layout moves it by 1.
PARITY = 2e-3


class Served(nn.Module):
    """A net as it is exported: grey bytes (n, 1, size, size) uint8 in, logits (n, classes) out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        return self.net(crops.float())


def export_onnx(net: nn.Module, size: int, path: Path) -> None:
    """Write `net`, folded if it can be, as ONNX with a free batch size."""
    if hasattr(net, "fold"):
        net = net.fold()
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    torch.onnx.export(
        Served(net).eval(),
        (example,),
        path,
        input_names=["crops"],
        output_names=["logits"],
        dynamic_shapes={"crops": {0: torch.export.Dim("n", min=1, max=4096)}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T that minimises the cross-entropy of softmax(logits / T) with the labels
    (Guo et al. 2017, arXiv 1706.04599, section 4.2), to three digits."""
    candidates = np.geomspace(0.2, 5, 1200)
    return float(f"{min(candidates, key=lambda t: _cross_entropy(logits / t, labels)):.3g}")


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sum - shifted[np.arange(len(labels)), labels]).mean())


def assert_parity(net: nn.Module, classifier: Classifier, crops: NDArray[np.uint8]) -> float:
    """The largest difference of a logit between PyTorch and the served path.

    Raises TrainingError when it is over PARITY.
    """
    net.eval()
    with torch.no_grad():
        expected = torch.cat(
            [net(batch.float()) for batch in torch.from_numpy(crops)[:, None].split(256)]
        ).numpy()
    difference = float(np.abs(classifier.predict(crops) - expected).max())
    if not difference <= PARITY:
        raise TrainingError(f"the exported net differs from PyTorch by {difference:.2g}")
    return difference


def write_model(config_path: Path, data_folder: Path, models: Path) -> Path:
    """Export the trained config to `models`/<name>, whole or not at all.

    Raises TrainingError when there is no run to export or the served path answers otherwise.
    """
    config = read_config(config_path)
    run = Run(config, load_data(data_folder, config.input_size), RUNS / config.name)
    if not run.resume():
        raise TrainingError(f"{run.folder} holds no checkpoint: train first")
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models) as workplace:
        made = Path(workplace) / config.name
        made.mkdir()
        said = tomllib.loads(config_path.read_text("utf-8"))["card"]
        print(_write_folder(made, run, said))
        folder = models / config.name
        if folder.exists():
            shutil.rmtree(folder)
        return made.rename(folder)


def _write_folder(folder: Path, run: Run, said: dict[str, Any]) -> str:
    config, net = run.config, run.average.module
    trained = copy.deepcopy(net)
    export_onnx(net, config.input_size, folder / WEIGHTS_FILE)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    session = OnnxSession(
        weights, input_size=config.input_size, outputs=len(ferplus.LABELS), threads=1
    )
    crops = run.data.validation_crops.numpy()[:, 0]
    card = {
        "name": config.name,
        "version": said["version"],
        "labels": list(ferplus.LABELS),
        "input": {"size": config.input_size, "channels": 1, "dtype": "uint8", "layout": "NCHW"},
        "crop_scale": said["crop_scale"],
        "temperature": fit_temperature(session.run(crops), run.data.validation_labels.numpy()),
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "bytes": len(weights),
            "parameters": sum(p.numel() for p in trained.parameters()),
        },
        "training": training_document(run),
        **{key: said[key] for key in ("licence", "intended_use", "out_of_scope", "limits")},
    }
    write_card(folder, card)
    for record in ("curve.png", "log.csv"):
        shutil.copy(run.folder / record, folder / record)
    difference = assert_parity(trained, Classifier.load(folder), crops)
    return (
        f"{config.name}: {len(weights):,} bytes, parity within {difference:.1e} on "
        f"{len(crops)} crops"
    )


def training_document(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "data": "FER+ training split (FER2013 pictures, ten crowd votes each), without pictures "
        "that are twice in it or also in the validation split",
        "pictures": len(run.data.crops),
        "targets": "cleaned votes over the eight emotions",
        "net": config.net,
        "net_options": config.net_options,
        "epochs": run.epoch,
        "minutes": round(run.seconds / 60, 1),
        "seed": config.seed,
        "command": f"python -m training.train training/configs/{config.name}.toml",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ferplus"))
    parser.add_argument("--models", type=Path, default=MODELS)
    arguments = parser.parse_args()
    try:
        write_model(arguments.config, arguments.data, arguments.models)
    except (TrainingError, ferplus.FerPlusError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
