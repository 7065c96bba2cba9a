"""Soft labels from exported models, for distillation (Hinton et al. 2015, arXiv 1503.02531).

The teachers are model folders. They classify the training crops as the service does, so a student
can be trained again from a configuration and the repository.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.vision.classifier import Classifier, softmax
from training.data import Split, read_split

_BATCH = 256


def soft_labels(
    teachers: Sequence[Path], data: Path, keep: NDArray[np.bool_], *, classes: int, threads: int
) -> NDArray[np.float32]:
    """Return probabilities (kept, classes) float32 for the kept rows of the training split.

    They are the mean over the teachers, and over each crop and its mirror image. The temperature of
    the card is not used, because it was fitted on majority labels and the targets are votes. Raises
    DataError, InvalidCard or ModelUnavailable.
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
