"""A run to go on from, of the weights that it was exported as: runs are not kept, models are.

    python -m training.recover training/configs/single_shot_second.toml models/single_shot

An export joins each convolution with the normalisation behind it. Here the two are taken apart
again: the normalisation gets the mean and deviation that its input has on training scenes, and
undoes both, so the net answers as it did when it was exported and learns as it did when it ended.
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from app.errors import ModelUnavailable
from app.vision.folders import WEIGHTS_FILE
from training.config import TrainingError, read_config
from training.data import DataError
from training.data.photos import PhotosError
from training.runs import CHECKPOINT, RUNS
from training.tasks import load_data
from training.train import Run

BATCHES = 40  # that the statistics are of
FOLDED = "_bias"  # what the exporter adds to the name of a weight that it folded into


def exported(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file by their names in the net."""
    graph = onnx.load(path).graph
    return {
        each.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in graph.initializer
    }


def normed(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """(name of the weight, convolution, normalisation of what it answers), in the net's order."""
    modules = list(net.named_modules())
    for (name, conv), (_, norm) in itertools.pairwise(modules):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield f"{name}.weight", conv, norm


@torch.no_grad()
def unfold(net: nn.Module, weights: dict[str, Tensor], batches: Iterable[Tensor]) -> None:
    """Give `net` exported `weights`, its normalisations the statistics of pictures `batches`, each
    (n, 3, height, width) float. Raises TrainingError where the weights are another net's."""
    pairs = list(normed(net))
    try:
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d):
                for part, value in layer.named_parameters():
                    value.copy_(weights[f"{name}.{part}"])
        for name, _, norm in pairs:
            norm.weight.fill_((1 + norm.eps) ** 0.5)  # mean 0 and variance 1 so far
            norm.bias.copy_(weights[name + FOLDED])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the weights are of another net: {error}") from error
    moments = _moments([norm for _, _, norm in pairs], net, batches)
    for (_, conv, norm), (mean, square) in zip(pairs, moments, strict=True):
        deviation = (square - mean.square()).clamp(min=1e-12).sqrt().float()
        # What goes in has a deviation of 1, as if the weights had never been scaled by an export.
        conv.weight /= deviation[:, None, None, None]
        norm.running_mean = mean.float() / deviation
        norm.weight *= deviation
        norm.bias += mean.float()


def _moments(
    norms: list[nn.BatchNorm2d], net: nn.Module, batches: Iterable[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Means of what goes into each of the `norms`, and of its square, each (channels,)."""
    seen: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms}

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        seen[norm].append(torch.stack([each.mean(dim=(0, 2, 3)) for each in (values, values**2)]))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    net.eval()
    for batch in batches:
        net(batch)
    for hook in hooks:
        hook.remove()
    return [torch.stack(each).mean(dim=0).unbind() for each in seen.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="that of the run")
    parser.add_argument("model", type=Path, help="folder of what was exported, in 32-bit floats")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    try:
        config = read_config(arguments.config)
        folder = RUNS / config.name
        if (folder / CHECKPOINT).exists():
            raise TrainingError(f"{folder / CHECKPOINT} is there; move it away first")
        data = load_data(arguments.data, config, taught=False)
        run = Run(replace(config, start=""), data, folder)
        run.config = config
        scenes = itertools.islice(data.batches(run), BATCHES)
        pictures = (each[0].float() for each in scenes)
        unfold(run.average.module, exported(arguments.model / WEIGHTS_FILE), pictures)
        run.net.load_state_dict(run.average.module.state_dict())
        run.epoch = config.epochs  # its schedule is over
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(run.state(), folder / CHECKPOINT)
    except (TrainingError, DataError, PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
