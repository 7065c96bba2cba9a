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


class Uint8Classifier(nn.Module):
    """A classifier with the exported signature: grey crops (n, 1, size, size) uint8 to logits
    (n, classes)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        return self.net(crops.float())


def write_fp32(net: nn.Module, size: int, path: Path) -> None:
    """Write a folded classifier with a dynamic batch size."""
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    torch.onnx.export(
        Uint8Classifier(net).eval(),
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


class Uint8SingleShot(nn.Module):
    """A single-shot network with the exported signature: squares (n, side, side, 3) uint8 BGR to
    outputs (n, cells, 5 + classes)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, squares: Tensor) -> Tensor:
        return self.net(squares.permute(0, 3, 1, 2).float())


def write_any_side(net: nn.Module, path: Path) -> None:
    """Write a single-shot network with a dynamic batch size and dynamic sides, which are multiples
    of MAX_STRIDE."""
    example = torch.zeros(2, 128, 128, 3, dtype=torch.uint8)
    side = MAX_STRIDE * torch.export.Dim("cells", min=2, max=64)
    sizes = {0: torch.export.Dim("n", min=1, max=64), 1: side, 2: side}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own code
        torch.onnx.export(
            Uint8SingleShot(net).eval(),
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


class _CalibrationBatches(CalibrationDataReader):
    def __init__(self, name: str, items: NDArray[np.uint8], size: int) -> None:
        self._name = name
        parts = np.array_split(items, max(1, len(items) // size))
        self._batches: Iterator[NDArray[np.uint8]] = iter(parts)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


def write_int8(fp32: Path, crops: NDArray[np.uint8], path: Path) -> None:
    """Quantise the fp32 file of a classifier. `crops` (n, size, size) are the calibration images.

    Only convolutions and matrix products are quantised. The standardisation of the crop is not.
    """
    batches = _CalibrationBatches("crops", crops[:, np.newaxis], _CALIBRATION_BATCH)
    # Relu is included so that the range after it is used for the convolution before it.
    _quantise(fp32, batches, path, ["Conv", "Gemm", "MatMul", "MaxPool", "Relu"])


def write_int8_any_side(fp32: Path, squares: NDArray[np.uint8], path: Path, heads: str) -> None:
    """Quantise the fp32 file of a single-shot network. `squares` (n, side, side, 3) are the
    calibration images. Convolutions whose weights have names that match the pattern `heads` are not
    quantised, because boxes and logits need more than 256 steps."""
    excluded = [
        node.name
        for node in onnx.load(fp32).graph.node
        if node.op_type == "Conv" and re.search(heads, node.input[1])
    ]
    operators = ["Conv", "MaxPool", "LeakyRelu", "Concat", "Resize"]
    _quantise(fp32, _CalibrationBatches("squares", squares, 1), path, operators, excluded)


def _quantise(
    fp32: Path,
    batches: CalibrationDataReader,
    path: Path,
    operators: list[str],
    excluded: Sequence[str] = (),
) -> None:
    """Quantise weights to int8 per output channel, and activations to uint8 by their range (Jacob
    et al. 2017, arXiv 1712.05877, section 2). The nodes `excluded` are not quantised.

    Weights use 7 of the 8 bits, because processors without VNNI add pairs of products in 16 bits,
    which would overflow with 8 bits.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(fp32, prepared, skip_symbolic_shape=True)
        level = logging.root.level
        logging.root.setLevel(logging.ERROR)  # it recommends the preprocessing of the previous line
        try:
            quantize_static(
                prepared,
                path,
                batches,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=operators,
                nodes_to_exclude=list(excluded),
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
