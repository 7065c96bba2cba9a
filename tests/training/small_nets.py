"""Small networks with changed running statistics, and crops for them."""

import torch

from training.nets import NETS

SMALL_NETS = [
    ("custom_net", {"widths": (8, 8, 16, 16), "depths": (2, 2, 1, 2)}, 48),
    ("vgg13", {"stages": ((4, 4), (8, 8), (8, 8, 8), (8, 8, 8)), "dense": 16}, 64),
]


def net_and_crops(net, options, side):
    """Return a small net with changed running statistics, and crops for it."""
    torch.manual_seed(0)
    net = NETS[net](classes=8, **options)
    crops = torch.rand(16, 1, side, side) * 255
    for _ in range(3):
        net(crops)
    return net.eval(), crops
