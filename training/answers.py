"""What trained runs answer about the packed faces: the targets of the networks that they teach.

    python -m training.answers teacher_1 teacher_2     # writes runs/<name>/answers.npz of each

A run is asked about several views of each face: a smaller and a larger crop than is served, and
their mirror images. The answer is the mean of the probabilities.
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
from training.learning import AUTO, choose_device
from training.runs import CHECKPOINT, RUNS, averaged_weights, build_net, read_checkpoint

ANSWERS = "answers.npz"
VIEWS = (0.95, 1.05)  # the side of each view in sides of the crop
_BATCH = 1024


def load_net(name: str, device: torch.device) -> tuple[nn.Module, Config]:
    """The averaged network of a run in evaluation mode. Raises TrainingError."""
    state = read_checkpoint(RUNS / name / CHECKPOINT)
    config = Config(**state["config"])
    net = build_net(config)
    net.load_state_dict(averaged_weights(state))
    return net.to(device, memory_format=torch.channels_last).eval(), config


@torch.no_grad()
def answer(net: nn.Module, canvases: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Probabilities (n, classes) for canvases (n, canvas, canvas), the mean over all views."""
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
    """The middle of the canvases, `scale` times as wide as a crop, at the size of a crop."""
    side = round(size * scale)
    start = (canvases.shape[-1] - side) // 2
    middle = canvases[:, :, start : start + side, start : start + side]
    if side != size:
        middle = F.interpolate(middle, size=size, mode="bilinear", antialias=True)
    return middle.to(memory_format=torch.channels_last)


def write_answers(name: str, faces: Path, device: torch.device) -> None:
    """Ask the run `name` about every training set in the folder `faces`."""
    net, config = load_net(name, device)
    answers = {
        each: answer(net, read_set(faces, each).canvases(config.input_size), config.input_size)
        for each in TRAINING_SETS
    }
    path = RUNS / name / ANSWERS
    with path.with_suffix(".tmp").open("wb") as file:
        np.savez_compressed(
            file,
            fold=config.fold,
            **{each: rows.astype(np.float16) for each, rows in answers.items()},
        )
    path.with_suffix(".tmp").replace(path)


def read_answers(runs: Sequence[str], name: str, folds: NDArray[np.int8]) -> NDArray[np.float32]:
    """The mean answer (n, 8) of the runs about the set `name`. About a face of a fold, only the
    runs that did not learn from it are asked, if there are any: the others repeat its label.

    Raises TrainingError when the answers of a run are missing or are of other faces.
    """
    answers, asked = [], []
    for run in runs:
        try:
            with np.load(RUNS / run / ANSWERS) as file:
                rows, fold = file[name].astype(np.float64), int(file["fold"])
        except (OSError, KeyError, ValueError) as error:
            raise TrainingError(f"the run {run} has no answers about {name}: {error}") from error
        if len(rows) != len(folds):
            raise TrainingError(f"the answers of the run {run} are about other faces")
        answers.append(rows)
        asked.append((folds < 0) | (folds == fold))
    weights = np.array(asked, dtype=float)[:, :, None]
    weights[:, weights.sum(axis=(0, 2)) == 0] = 1.0
    mean = (weights * np.array(answers)).sum(axis=0) / weights.sum(axis=0)
    return np.asarray(mean / mean.sum(axis=1, keepdims=True), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--faces", type=Path, default=FACES)
    parser.add_argument("--device", default=AUTO)
    arguments = parser.parse_args()
    try:
        for name in arguments.runs:
            write_answers(name, arguments.faces, choose_device(arguments.device))
    except TrainingError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
