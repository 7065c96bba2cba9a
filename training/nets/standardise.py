"""Standardisation of crops, the first step of each classifier."""

from torch import Tensor


def standardise(crops: Tensor) -> Tensor:
    """Return (x − mean) / (standard deviation + 8) of each crop, which removes brightness and
    contrast.

    The constant 8 prevents the amplification of noise in uniform crops. The operation is part of
    the exported graph, so its input is grey bytes.
    """
    centred = crops - crops.mean(dim=(2, 3), keepdim=True)
    deviation = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt()
    return centred / (deviation + 8)
