"""The inputs and outputs of an ONNX graph: named tensors with dtype and shape."""

from dataclasses import dataclass

DTYPES = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph. `dtype` is a key of DTYPES. `shape` is the shape of one item,
    without the batch dimension."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of one run.

    If `named` is set, the graph must have exactly these inputs and at least these outputs.
    Otherwise the signature has one input and one output, and their names are internal: the graph
    must have one input of any name, and the first output is used. Cards that give only `input` have
    this kind of signature.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    named: bool = True

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in self.inputs)


def single_tensor_signature(input_shape: Shape, output_shape: Shape) -> Signature:
    """Return the signature of a graph with one uint8 input and one float32 output of any name."""
    return Signature(
        (Tensor("input", "uint8", input_shape),),
        (Tensor("output", "float32", output_shape),),
        named=False,
    )
