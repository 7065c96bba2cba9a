"""VGG13 of the FER+ paper (Barsoum et al. 2016, arXiv 1608.01041, section 4) for 64×64 grey crops.

The exported network has ten 3×3 convolutions in four stages (64, 64 · 128, 128 · 256 ×3 · 256 ×3).
Each stage ends with max pooling and dropout. Two dense layers of 1,024 with dropout follow. The
training differs from the paper in three ways:

- All filters are tied in mirrored pairs. The dense layers are filters over the last 4×4 map.
- There is batch normalisation.
- The last map is resized to 4×4, so early epochs can use smaller crops.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from training.nets.paired import PairedConv, PairedNorm, fold, pair_means
from training.nets.standardise import standardise

STAGES = ((64, 64), (128, 128), (256, 256, 256), (256, 256, 256))
_LAST_SIDE = 4  # side of the last map for crops of 64×64


class Vgg13(nn.Module):
    """Logits (n, classes) of crops (n, 1, side, side) with grey values 0–255, float. The side is 64
    in the service and 32 to 64 in training."""

    def __init__(
        self,
        classes: int,
        stages: Sequence[Sequence[int]] = STAGES,
        dense: int = 1024,
        dropout: float = 0.25,
        dense_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for widths in stages:
            for width in widths:
                layers += [PairedConv(channels, width, 3), PairedNorm(width), nn.ReLU()]
                channels = width
            layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        self.features = nn.Sequential(*layers)
        layers = []
        for size in (_LAST_SIDE, 1):
            layers += [PairedConv(channels, dense, size), PairedNorm(dense), nn.ReLU()]
            layers.append(nn.Dropout(dense_dropout))
            channels = dense
        self.dense = nn.Sequential(*layers)
        self.head = nn.Linear(dense // 2, classes)

    def forward(self, crops: Tensor) -> Tensor:
        features = self.features(standardise(crops))
        if features.shape[-1] != _LAST_SIDE:
            features = nn.functional.interpolate(features, size=_LAST_SIDE)
        return self.head(pair_means(self.dense(features).flatten(1)))

    def fold(self) -> "Vgg13":
        """Fold all normalisations in place, for the export, and return the network."""
        self.eval()
        self.features, self.dense = _folded(self.features), _folded(self.dense)
        return self


def _folded(layers: nn.Sequential) -> nn.Sequential:
    folded: list[nn.Module] = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, PairedConv):
            folded.append(fold(layer, following))
        elif not isinstance(layer, PairedNorm | nn.Dropout):
            folded.append(layer)
    return nn.Sequential(*folded)
