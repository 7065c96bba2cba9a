"""Import a network trained with Darknet as a model folder of kind `single_shot`.

    python -m training.import_darknet yolov3-tiny.cfg yolov3-tiny.weights labels.names
    models/my_model

The .names file has one label per line, in the order of the classes of the network. The model folder
can be installed like any other model.
"""

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from app.errors import InvalidCard
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.folders import WEIGHTS_FILE
from app.vision.single_shot import SingleShotCard
from training.nets.darknet import DarknetNet, read_net
from training.nets.darknet_cfg import DarknetError
from training.onnx_files import write_any_side

PARITY = 1e-3  # maximum relative difference between PyTorch and ONNX Runtime
UNKNOWN = "Not stated by the importer."


def read_labels(path: Path, classes: int) -> list[str]:
    """Read the labels of a .names file. Raises DarknetError if there is not one for each class."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DarknetError(f"{path}: {error.strerror}") from error
    labels = [line.strip() for line in lines if line.strip()]
    if len(labels) != classes:
        raise DarknetError(f"{path} has {len(labels)} labels; the network has {classes} classes")
    return labels


def import_model(cfg: Path, weights: Path, names: Path, folder: Path) -> str:
    """Write weights and card to `folder` and return a summary. Raises DarknetError if a file cannot
    be used, if the service cannot use the network, or if the outputs of ONNX Runtime differ from
    PyTorch."""
    net = read_net(cfg, weights)
    labels = read_labels(names, net.classes)
    try:  # the export takes longer, and the checksum of the weights is not checked here
        SingleShotCard.parse(_card(net, folder.name, labels, b"", cfg.name))
    except InvalidCard as error:
        raise DarknetError(f"the service cannot use this network: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_any_side(net, folder / WEIGHTS_FILE)
    difference = _difference(net, folder / WEIGHTS_FILE)
    if not difference <= PARITY:
        raise DarknetError(f"the exported network differs from PyTorch by {difference:.2g}")
    data = (folder / WEIGHTS_FILE).read_bytes()
    write_card(folder, _card(net, folder.name, labels, data, cfg.name))
    return f"{folder}: {len(data):,} bytes, largest difference from PyTorch {difference:.1e}"


def decoder(net: DarknetNet) -> dict[str, Any]:
    """Return the field `decoder` of the card. Darknet networks have a sigmoid for each class."""
    return {
        "name": "yolov3",
        "scales": [
            {"stride": head.stride, "anchors": [list(anchor) for anchor in head.anchors]}
            for head in net.heads
        ],
        "classes": "logistic",
    }


def _card(
    net: DarknetNet, name: str, labels: list[str], data: bytes, source: str
) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1.0.0",
        "kind": SINGLE_SHOT,
        "labels": labels,
        "input": {"sizes": [net.size], "channels": 3, "dtype": "uint8", "layout": "NHWC, BGR"},
        "decoder": decoder(net),
        "temperature": 1.0,
        "score": {"scale": 1.0, "bias": 0.0},
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "parameters": sum(each.numel() for each in net.parameters()),
            "precision": "fp32",
        },
        "training": {"method": f"imported from Darknet, {source}", "data": UNKNOWN},
        "licence": UNKNOWN,
        "intended_use": UNKNOWN,
        "limits": "The scores were not calibrated.",
    }


@torch.no_grad()
def _difference(net: DarknetNet, path: Path) -> float:
    side = net.size
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (served,) = session.run(None, {"squares": image})
    expected = net(torch.from_numpy(image).permute(0, 3, 1, 2).float()).numpy()
    return float(np.abs(served - expected).max() / max(1.0, float(np.abs(expected).max())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cfg", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("names", type=Path, help="one label per line, in the order of the classes")
    parser.add_argument("folder", type=Path, help="the model folder to write")
    arguments = parser.parse_args()
    try:
        print(import_model(arguments.cfg, arguments.weights, arguments.names, arguments.folder))
    except DarknetError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
