"""The result and the error of all functions that read labelled faces."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


class DataError(Exception):
    """Data is missing or invalid. The message names the file and the problem."""


@dataclass(frozen=True)
class Split:
    """A split of a data set: `crops` (n, size, size) uint8, `votes` (n, 10) as in
    training.ferplus_labels, and `digests` (n,), checksums of the pixels of the original images."""

    crops: NDArray[np.uint8]
    votes: NDArray[np.int64]
    digests: NDArray[np.str_]

    @classmethod
    def of(cls, rows: Sequence[tuple[NDArray[np.uint8], Sequence[int], str]]) -> Self:
        crops, votes, digests = zip(*rows, strict=True)
        return cls(np.stack(crops), np.array(votes), np.array(digests))

    def __len__(self) -> int:
        return len(self.crops)

    def where(self, keep: NDArray[np.bool_]) -> "Split":
        return Split(self.crops[keep], self.votes[keep], self.digests[keep])


def digest(image_gray: NDArray[np.uint8]) -> str:
    return hashlib.sha256(image_gray.tobytes()).hexdigest()


def first_of_each(digests: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return a mask with the first row of each distinct image."""
    keep = np.zeros(len(digests), dtype=bool)
    keep[np.unique(digests, return_index=True)[1]] = True
    return keep
