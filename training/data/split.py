"""What every reader gives, and what it raises."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


class DataError(Exception):
    """The data is missing or not of its layout; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Split:
    """`crops` (n, size, size) uint8; `votes` (n, 10) counts as training.votes has them;
    `digests` (n,) of the images' own pixels, equal where two images are the same."""

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
    """True at the first row of every distinct image."""
    keep = np.zeros(len(digests), dtype=bool)
    keep[np.unique(digests, return_index=True)[1]] = True
    return keep
