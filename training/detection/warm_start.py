"""Begin a run of single_shot from the weights of an exported model, where layers have equal shapes.

    python -m training.detection.warm_start models/single_shot --pack runs/scenes.npz \\
        runs/single_shot_start.pt

An export joins each convolution with the normalisation behind it. Here the two are separated: the
normalisation gets the mean and deviation that its input has on training scenes, and undoes both. A
network whose layers all fit answers as the exported one, and learns as it did when it was exported.
Layers that the exported model lacks keep their random start.
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
from training.detection.graph import FINDER, NAMER
from training.detection.pixels import upload
from training.nets.single_shot import SingleShot

BATCHES, SCENES, SIDE, CLASSES = 8, 24, 320, 8
FOLDED = "_bias"  # what the exporter adds to the name of a weight that it folded into
CPU = torch.device("cpu")


def exported(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file by their names in the network."""
    return {
        _name(each.name): torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in onnx.load(path).graph.initializer
    }


def _name(exported: str) -> str:
    if exported.startswith(NAMER):
        return "namer." + exported.removeprefix(NAMER)
    return exported.removeprefix(FINDER).removeprefix("net.")


def normed(net: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """(name of the weight, convolution, normalisation of its output), in the network's order."""
    modules = list(net.named_modules())
    for (name, conv), (_, norm) in itertools.pairwise(modules):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield f"{name}.weight", conv, norm


@torch.no_grad()
def begin_from(net: SingleShot, weights: dict[str, Tensor], batches: Iterable[Tensor]) -> list[str]:
    """Copy what fits and give each normalisation the statistics of images `batches`, each
    (n, 3, height, width). Returns the names of the layers that were copied."""
    copied = []
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and _fits(layer, weights.get(f"{name}.weight")):
            copied.append(name)
            for part, value in layer.named_parameters():
                value.copy_(weights[f"{name}.{part}"])
    pairs = [each for each in normed(net) if each[0].removesuffix(".weight") in copied]
    for name, _, norm in pairs:
        norm.weight.fill_((1 + norm.eps) ** 0.5)  # mean 0 and variance 1 so far
        norm.bias.copy_(weights[name + FOLDED])
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
    """Means of the input of each of the `norms` and of its square, each (channels,). Without a face
    in the images there are none of the part that names faces."""
    seen: dict[nn.BatchNorm2d, list[Tensor]] = {norm: [] for norm in norms}

    def look(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        seen[norm].append(torch.stack([each.mean(dim=(0, 2, 3)) for each in (values, values**2)]))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    net.eval()
    for batch in batches:
        net(batch)
    for hook in hooks:
        hook.remove()
    return {
        norm: tuple(torch.stack(each).mean(dim=0).unbind()) for norm, each in seen.items() if each
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
    copied = begin_from(net, exported(arguments.model / WEIGHTS_FILE), batches())
    torch.save(net.state_dict(), arguments.path)
    print(f"{len(copied)} layers copied")


if __name__ == "__main__":
    main()
