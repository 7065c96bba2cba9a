"""Soft targets from teachers: what finished models say of the training pictures.

Distillation (Hinton et al. 2015, arXiv 1503.02531) with fixed targets: the votes of ten people are
noisy, and the mean of several networks that have seen all pictures is less so. Teachers are model
folders and are asked as they are served, so a config and the repository are all that it takes to
make a student again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.vision.classifier import Classifier, softmax
from training.data import Split, read_split

_BATCH = 256


def teach(
    teachers: Sequence[Path], data: Path, keep: NDArray[np.bool_], *, classes: int, threads: int
) -> NDArray[np.float32]:
    """Mean probabilities (kept, classes) float32 over teachers and over each crop and its mirror
    image, for the kept rows of the training split.

    The softmax is that of the plain logits: the card's temperature fits majority labels, training
    follows votes. Raises DataError, InvalidCard or ModelUnavailable.
    """
    total = np.zeros((int(keep.sum()), classes))
    split: Split | None = None
    for folder in teachers:
        classifier = Classifier.load(folder, threads=threads)
        size = classifier.card.input_size
        if split is None or split.crops.shape[1] != size:
            split = read_split(data, "train", size=size).where(keep)
        for start in tqdm(range(0, len(split), _BATCH), desc=folder.name, leave=False):
            crops = split.crops[start : start + _BATCH]
            for view in (crops, crops[:, :, ::-1]):
                logits = classifier.predict(np.ascontiguousarray(view))
                total[start : start + _BATCH] += softmax(logits[:, :classes])
    return (total / (2 * len(teachers))).astype(np.float32)
