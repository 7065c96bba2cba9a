"""VGG13 of the FER+ paper (Barsoum et al. 2016, arXiv 1608.01041, section 4), 64×64 grey in.

Ten 3×3 convolutions in four stages (64, 64 · 128, 128 · 256 ×3 · 256 ×3), each stage ending in
max pooling and dropout of .25, then two dense layers of 1,024 with dropout of .5. Two things
differ, for training's sake, and neither changes what is served: batch normalisation after each
convolution, folded into it by `fold`, and pooling of the last stage to 4×4 whatever the crop's
side, so that early epochs can use smaller crops.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.nets.standardise import standardise

STAGES = ((64, 64), (128, 128), (256, 256, 256), (256, 256, 256))
_LAST_SIDE = 4  # of 64×64 after four poolings


class Vgg13(nn.Module):
    """Logits (n, classes) of crops (n, 1, side, side) with raw grey values 0–255, float; served
    with side 64, trained with 32 to 64."""

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
                layers += [_convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(channels * _LAST_SIDE**2, dense),
            nn.ReLU(),
            nn.Dropout(dense_dropout),
            nn.Linear(dense, dense),
            nn.ReLU(),
            nn.Dropout(dense_dropout),
            nn.Linear(dense, classes),
        )

    def forward(self, crops: Tensor) -> Tensor:
        features = self.features(standardise(crops))
        if features.shape[-1] != _LAST_SIDE:
            features = nn.functional.interpolate(features, size=_LAST_SIDE)
        return self.head(features.flatten(1))

    def fold(self) -> "Vgg13":
        """This net with every batch normalisation folded, for export. Changes the net itself."""
        self.eval()
        folded: list[nn.Module] = []
        for layer in self.features:
            if isinstance(layer, nn.BatchNorm2d):
                folded[-1] = fuse_conv_bn_eval(folded[-1], layer)
            elif not isinstance(layer, nn.Dropout):
                folded.append(layer)
        self.features = nn.Sequential(*folded)
        return self


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
