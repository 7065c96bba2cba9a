"""A trained net as ONNX: 32-bit floats, or 8-bit integers for the convolutions and dense layers."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from app.vision.cells import MAX_STRIDE

OPSET = 18
_CALIBRATION_BATCH = 32


class Served(nn.Module):
    """A net as it is exported: grey bytes (n, 1, size, size) uint8 in, logits (n, classes) out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        return self.net(crops.float())


def write_fp32(net: nn.Module, size: int, path: Path) -> None:
    """Write `net`, already folded, with a free batch size."""
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    torch.onnx.export(
        Served(net).eval(),
        (example,),
        path,
        input_names=["crops"],
        output_names=["logits"],
        dynamic_shapes={"crops": {0: torch.export.Dim("n", min=1, max=4096)}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


class ServedSquares(nn.Module):
    """A one-pass net as it is exported: squares (n, side, side, 3) uint8 BGR in, answers
    (n, cells, 5 + classes) out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, squares: Tensor) -> Tensor:
        return self.net(squares.permute(0, 3, 1, 2).float())


def write_any_side(net: nn.Module, path: Path) -> None:
    """Write a one-pass net with a free batch size and free sides, multiples of
    MAX_STRIDE."""
    example = torch.zeros(2, 128, 128, 3, dtype=torch.uint8)
    side = MAX_STRIDE * torch.export.Dim("cells", min=2, max=64)
    sizes = {0: torch.export.Dim("n", min=1, max=64), 1: side, 2: side}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's of its own parts
        torch.onnx.export(
            ServedSquares(net).eval(),
            (example,),
            path,
            input_names=["squares"],
            output_names=["answers"],
            dynamic_shapes={"squares": sizes},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


class _Crops(CalibrationDataReader):
    def __init__(self, crops: NDArray[np.uint8]) -> None:
        self._batches: Iterator[NDArray[np.uint8]] = iter(
            np.array_split(crops[:, np.newaxis], max(1, len(crops) // _CALIBRATION_BATCH))
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"crops": batch}


def write_int8(fp32: Path, crops: NDArray[np.uint8], path: Path) -> None:
    """Quantise an fp32 file: weights to int8 for each output channel, activations to uint8 by the
    range they take on `crops` (n, size, size) (Jacob et al. 2017, arXiv 1712.05877, section 2).

    The standardisation of the crop stays in floats, and so does all that is neither a convolution
    nor a matrix product. Weights take 7 of their 8 bits: processors without VNNI add pairs of
    products in 16 bits, which 8 would overflow.
    """
    with tempfile.TemporaryDirectory() as workplace:
        prepared = Path(workplace) / "prepared.onnx"
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it warns of what was just done
        try:
            quantize_static(
                prepared,
                path,
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                # Relu too, or its input would be quantised by itself instead of by its range.
                op_types_to_quantize=["Conv", "Gemm", "MatMul", "MaxPool", "Relu"],
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.root.setLevel(level)
