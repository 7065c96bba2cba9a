"""Export of trained networks to ONNX, with 32-bit floats or 8-bit integers.

    python -m training.onnx_files models/*/model.onnx     # removes exporter metadata from files

The exporter of PyTorch writes stack traces with file paths into the metadata of a file. They are
removed from all files that this module writes.
"""

import argparse
import hashlib
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
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
METADATA = ("doc_string", "metadata_props")  # fields of the messages of ONNX
_CALIBRATION_BATCH = 32


def strip_metadata(message: Any) -> None:
    """Remove METADATA from an ONNX message (protobuf) and from all messages in it, such as graphs,
    nodes and tensors. These fields do not affect the computation."""
    for field, value in message.ListFields():
        if field.name in METADATA:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in value if isinstance(value, Sequence) else [value]:
                strip_metadata(part)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model without METADATA."""
    strip_metadata(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


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
    save(onnx.load(path), path)


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
    save(onnx.load(path), path)


class _Batches(CalibrationDataReader):
    def __init__(self, name: str, items: NDArray[np.uint8], size: int) -> None:
        self._name = name
        parts = np.array_split(items, max(1, len(items) // size))
        self._batches: Iterator[NDArray[np.uint8]] = iter(parts)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def write_int8(fp32: Path, crops: NDArray[np.uint8], path: Path) -> None:
    """Quantise the fp32 file of a classifier by its activations on `crops` (n, size, size).

    The standardisation of the crop stays in floats, and so does all that is neither a convolution
    nor a matrix product.
    """
    batches = _Batches("crops", crops[:, np.newaxis], _CALIBRATION_BATCH)
    # Relu too, or its input would be quantised by itself instead of by its range.
    _quantise(fp32, batches, path, ["Conv", "Gemm", "MatMul", "MaxPool", "Relu"])


def write_int8_any_side(fp32: Path, squares: NDArray[np.uint8], path: Path, heads: str) -> None:
    """Quantise the fp32 file of a one-pass network by its activations on `squares` (n, side, side,
    3). Convolutions whose weights' names match the pattern `heads` stay in floats: boxes and logits
    need more than 256 steps."""
    kept = [
        node.name
        for node in onnx.load(fp32).graph.node
        if node.op_type == "Conv" and re.search(heads, node.input[1])
    ]
    operators = ["Conv", "MaxPool", "LeakyRelu", "Concat", "Resize"]
    _quantise(fp32, _Batches("squares", squares, 1), path, operators, kept)


def _quantise(
    fp32: Path,
    batches: CalibrationDataReader,
    path: Path,
    operators: list[str],
    kept: Sequence[str] = (),
) -> None:
    """Weights become int8 for each output channel, activations uint8 by the range they take (Jacob
    et al. 2017, arXiv 1712.05877, section 2). The nodes `kept` stay in floats.

    Weights take 7 of their 8 bits: processors without VNNI add pairs of products in 16 bits, which
    8 would overflow.
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
                batches,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=operators,
                nodes_to_exclude=list(kept),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.root.setLevel(level)
    save(onnx.load(path), path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Remove exporter metadata from ONNX files.")
    parser.add_argument("paths", type=Path, nargs="+")
    for path in parser.parse_args().paths:
        before = path.stat().st_size
        save(onnx.load(path), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path}: {before:,} -> {path.stat().st_size:,} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
