"""What an ONNX graph takes and returns: named tensors with dtype and shape."""

from dataclasses import dataclass

DTYPES = {"uint8": "tensor(uint8)", "int64": "tensor(int64)", "float32": "tensor(float)"}
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """`dtype` is a key of DTYPES. `shape` is the shape of one item: it leaves out the first
    dimension, the batch."""

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """The tensors of one run.

    With `named`, the graph has exactly these inputs, and at least these outputs. Otherwise there is
    one of each, and the names belong to us: the graph has one input of any name, and its first
    output is used. That is the short form of a card, which gives no names.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    named: bool = True

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        return tuple(tensor.shape for tensor in self.inputs)


def single(input_shape: Shape, output_shape: Shape) -> Signature:
    """The signature of a graph with one uint8 input and one float32 output of any name."""
    return Signature(
        (Tensor("input", "uint8", input_shape),),
        (Tensor("output", "float32", output_shape),),
        named=False,
    )
