"""The first step of every net, inside the graph."""

from torch import Tensor


def standardise(crops: Tensor) -> Tensor:
    """(x − mean) / (standard deviation + 8) of each crop: light and contrast drop out.

    The 8 grey levels keep flat crops from being blown up into noise. Part of the graph, so
    serving hands over grey bytes and nothing else.
    """
    centred = crops - crops.mean(dim=(2, 3), keepdim=True)
    deviation = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt()
    return centred / (deviation + 8)
