"""Soft labels from training runs: the predictions of teachers for the faces in runs/faces.

    python -m training.soft_labels teacher_1 teacher_2   # writes runs/<name>/soft_labels.npz of
    each

A teacher classifies several views of each face: a smaller and a larger crop than the served one,
and their mirror images. The soft label is the mean of the probabilities.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import Config, TrainingError
from training.data.face_sets import FACES, TRAINING_SETS, read_set
from training.devices import AUTO, choose_device
from training.runs import CHECKPOINT, RUNS, averaged_weights, build_net, read_checkpoint

SOFT_LABELS = "soft_labels.npz"
VIEWS = (0.95, 1.05)  # sides of the views, relative to the side of the crop
_BATCH = 1024


def load_net(name: str, device: torch.device) -> tuple[nn.Module, Config]:
    """Load the averaged network of a run in evaluation mode. Raises TrainingError."""
    state = read_checkpoint(RUNS / name / CHECKPOINT)
    config = Config(**state["config"])
    net = build_net(config)
    net.load_state_dict(averaged_weights(state))
    return net.to(device, memory_format=torch.channels_last).eval(), config


@torch.no_grad()
def predict(net: nn.Module, canvases: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Return probabilities (n, classes) for canvases (n, canvas, canvas), the mean of all views."""
    device = next(net.parameters()).device
    rows = []
    for part in torch.from_numpy(canvases)[:, None].split(_BATCH):
        images = part.to(device).float()
        views = [_view(images, size, scale) for scale in VIEWS]
        with torch.autocast(device.type, torch.bfloat16):
            logits = [net(each) for view in views for each in (view, view.flip(3))]
        rows.append(torch.stack([each.float().softmax(dim=1) for each in logits]).mean(dim=0))
    return torch.cat(rows).cpu().numpy()


def _view(canvases: Tensor, size: int, scale: float) -> Tensor:
    """Cut out the centre of the canvases, `scale` times as wide as a crop, and resize it to the
    size of a crop."""
    side = round(size * scale)
    start = (canvases.shape[-1] - side) // 2
    centre = canvases[:, :, start : start + side, start : start + side]
    if side != size:
        centre = F.interpolate(centre, size=size, mode="bilinear", antialias=True)
    return centre.to(memory_format=torch.channels_last)


def write_soft_labels(name: str, faces: Path, device: torch.device) -> None:
    """Predict the soft labels of every training set in the folder `faces` with the run `name`."""
    net, config = load_net(name, device)
    predictions = {
        each: predict(net, read_set(faces, each).canvases(config.input_size), config.input_size)
        for each in TRAINING_SETS
    }
    path = RUNS / name / SOFT_LABELS
    with path.with_suffix(".tmp").open("wb") as file:
        np.savez_compressed(
            file,
            fold=config.fold,
            **{each: rows.astype(np.float16) for each, rows in predictions.items()},
        )
    path.with_suffix(".tmp").replace(path)


def read_soft_labels(
    runs: Sequence[str], name: str, folds: NDArray[np.int8]
) -> NDArray[np.float32]:
    """Return the mean soft labels (n, 8) of the runs for the set `name`.

    The label of a face in a fold is the mean over the runs that were not trained on this fold,
    because the other runs reproduce the label that they were trained on. If all runs were trained
    on the face, it is the mean over all runs. Raises TrainingError if the soft labels of a run are
    missing or have another number of faces.
    """
    predictions, used = [], []
    for run in runs:
        try:
            with np.load(RUNS / run / SOFT_LABELS) as file:
                rows, fold = file[name].astype(np.float64), int(file["fold"])
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(f"the run {run} has no soft labels for {name}: {error}") from error
        if len(rows) != len(folds):
            raise TrainingError(f"the soft labels of the run {run} are for other faces")
        predictions.append(rows)
        used.append((folds < 0) | (folds == fold))
    weights = np.array(used, dtype=float)[:, :, None]
    weights[:, weights.sum(axis=(0, 2)) == 0] = 1.0
    mean = (weights * np.array(predictions)).sum(axis=0) / weights.sum(axis=0)
    return np.asarray(mean / mean.sum(axis=1, keepdims=True), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="names of the teachers")
    parser.add_argument("--faces", type=Path, default=FACES)
    parser.add_argument("--device", default=AUTO)
    arguments = parser.parse_args()
    try:
        for name in arguments.runs:
            write_soft_labels(name, arguments.faces, choose_device(arguments.device))
    except TrainingError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
