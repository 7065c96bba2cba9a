"""Begin a run of single_shot from the weights of an exported model, where layers have equal shapes.

    python -m training.detection.warm_start models/single_shot --pack scenes.npz start.pt

Layers that the exported model lacks keep their random start. See training.recover for the way back
from an export to weights that learn.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from app.vision.folders import WEIGHTS_FILE
from training.data.scene_pack import ScenePack
from training.detection.composer import Composer
from training.detection.pixels import upload
from training.nets.single_shot import SingleShot
from training.recover import FOLDED, exported, normed

BATCHES, SCENES, SIDE, CLASSES = 8, 24, 320, 8


@torch.no_grad()
def begin_from(net: SingleShot, weights: dict[str, Tensor], batches: Iterable[Tensor]) -> list[str]:
    """Copy what fits and give each normalisation the statistics of images `batches`, each
    (n, 3, height, width). Returns the names of the layers that were copied."""
    copied = []
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and _fits(layer, weights.get(f"{name}.weight")):
            copied.append(name)
            for part, value in layer.named_parameters():
                value.copy_(weights[f"{name}.{part}"])
    pairs = [each for each in normed(net) if each[0].removesuffix(".weight") in copied]
    for name, _, norm in pairs:
        norm.weight.fill_((1 + norm.eps) ** 0.5)  # mean 0 and variance 1 so far
        norm.bias.copy_(weights[name + FOLDED])
    moments = _moments(net, [norm for _, _, norm in pairs], batches)
    for (_, conv, norm), (mean, square) in zip(pairs, moments, strict=True):
        deviation = (square - mean.square()).clamp(min=1e-12).sqrt().float()
        conv.weight /= deviation[:, None, None, None]
        norm.running_mean = mean.float() / deviation
        norm.weight *= deviation
        norm.bias += mean.float()
    return copied


def _fits(layer: nn.Conv2d, weight: Tensor | None) -> bool:
    return weight is not None and weight.shape == layer.weight.shape


def _moments(
    net: SingleShot, norms: list[nn.BatchNorm2d], batches: Iterable[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Means of what goes into each of the `norms` and of its square, each (channels,)."""
    seen: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms}

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        seen[norm].append(torch.stack([each.mean(dim=(0, 2, 3)) for each in (values, values**2)]))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    net.eval()
    for batch in batches:
        net.look(batch)
    for hook in hooks:
        hook.remove()
    return [tuple(torch.stack(each).mean(dim=0).unbind()) for each in seen.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of the exported model")
    parser.add_argument("path", type=Path, help="where to write the weights")
    parser.add_argument("--pack", type=Path, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    pack = ScenePack.load(arguments.pack)
    composer = Composer(
        pack, upload(pack.images(), torch.device("cpu"), threads=1), torch.device("cpu"), seed=0
    )

    def batches() -> Iterator[Tensor]:
        for _ in range(BATCHES):
            yield composer.batch(SCENES, 0, SIDE).images

    net = SingleShot(CLASSES)
    copied = begin_from(net, exported(arguments.model / WEIGHTS_FILE), batches())
    torch.save(net.state_dict(), arguments.path)
    print(f"{len(copied)} layers copied")


if __name__ == "__main__":
    main()
