"""Convert the weights of an exported single_shot model to initial weights for a training run.

    python -m training.detection.warm_start models/single_shot --pack runs/scenes.npz \\
        runs/single_shot_start.pt

The exporter folds each batch normalisation into the convolution before it. This command separates
them: the normalisation gets the mean and the standard deviation of its input on training scenes,
and a scale and a bias that undo the normalisation. If all layers have the same shapes, the outputs
are those of the exported model. Layers that are missing or have another shape in the exported model
keep their random weights.
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from app.vision.folders import WEIGHTS_FILE
from training.data.scene_pack import ScenePack
from training.detection.composer import Composer
from training.detection.graph import DETECTOR, EXPRESSION_HEAD
from training.detection.pixels import upload
from training.nets.single_shot import SingleShot

BATCHES, SCENES, SIDE, CLASSES = 8, 24, 320, 8
FOLDED_BIAS = "_bias"  # suffix of the exporter for the bias of a folded normalisation
CPU = torch.device("cpu")


def exported_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of an ONNX file, by name in the PyTorch network."""
    return {
        _name(each.name): torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in onnx.load(path).graph.initializer
    }


def _name(exported: str) -> str:
    if exported.startswith(EXPRESSION_HEAD):
        return "namer." + exported.removeprefix(EXPRESSION_HEAD)
    return exported.removeprefix(DETECTOR).removeprefix("net.")


def normalised_convolutions(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Return the convolutions with a normalisation in the order of the network: the name of the
    weight, the convolution and the normalisation."""
    modules = list(net.named_modules())
    for (name, conv), (_, norm) in itertools.pairwise(modules):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield f"{name}.weight", conv, norm


@torch.no_grad()
def copy_weights(
    net: SingleShot, weights: dict[str, Tensor], batches: Iterable[Tensor]
) -> list[str]:
    """Copy the weights of layers with equal shapes, and set the statistics of their normalisations
    to those of `batches` of images (n, 3, height, width). Return the names of the copied layers."""
    copied = []
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and _fits(layer, weights.get(f"{name}.weight")):
            copied.append(name)
            for part, value in layer.named_parameters():
                value.copy_(weights[f"{name}.{part}"])
    pairs = [
        each for each in normalised_convolutions(net) if each[0].removesuffix(".weight") in copied
    ]
    for name, _, norm in pairs:
        norm.weight.fill_((1 + norm.eps) ** 0.5)  # undoes mean 0 and variance 1
        norm.bias.copy_(weights[name + FOLDED_BIAS])
    moments = _moments(net, [norm for _, _, norm in pairs], batches)
    for _, conv, norm in pairs:
        if norm in moments:
            mean, square = moments[norm]
            deviation = (square - mean.square()).clamp(min=1e-12).sqrt().float()
            conv.weight /= deviation[:, None, None, None]
            norm.running_mean = mean.float() / deviation
            norm.weight *= deviation
            norm.bias += mean.float()
    return copied


def _fits(layer: nn.Conv2d | nn.Linear, weight: Tensor | None) -> bool:
    return weight is not None and weight.shape == layer.weight.shape


def _moments(
    net: SingleShot, norms: list[nn.BatchNorm2d], batches: Iterable[Tensor]
) -> dict[nn.BatchNorm2d, tuple[Tensor, Tensor]]:
    """Return the means (channels,) of the input of each normalisation and of its square.

    If the images have no face, the normalisations of the expression head are missing.
    """
    recorded: dict[nn.BatchNorm2d, list[Tensor]] = {norm: [] for norm in norms}

    def record(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        recorded[norm].append(
            torch.stack([each.mean(dim=(0, 2, 3)) for each in (values, values**2)])
        )

    hooks = [norm.register_forward_pre_hook(record) for norm in norms]
    net.eval()
    for batch in batches:
        net(batch)
    for hook in hooks:
        hook.remove()
    return {
        norm: tuple(torch.stack(each).mean(dim=0).unbind())
        for norm, each in recorded.items()
        if each
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the exported model")
    parser.add_argument("path", type=Path, help="where to write the weights")
    parser.add_argument("--pack", type=Path, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    pack = ScenePack.load(arguments.pack)
    composer = Composer(pack, upload(pack.images(), CPU, threads=1), CPU, seed=0)

    def batches() -> Iterator[Tensor]:
        for _ in range(BATCHES):
            yield composer.batch(SCENES, 0, SIDE).images

    net = SingleShot(CLASSES)
    copied = copy_weights(net, exported_weights(arguments.model / WEIGHTS_FILE), batches())
    torch.save(net.state_dict(), arguments.path)
    print(f"{len(copied)} layers copied")


if __name__ == "__main__":
    main()
