"""Expressions from several sets of faces: FER+, labelled wild faces and faces without a label.

The sets come from training.pack. Faces without a label are learned from what other networks, the
teachers, answer (Xie et al. 2020, arXiv 1911.04252); the labels of the others are mixed with it
(Hinton et al. 2015, arXiv 1503.02531).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.answers import read_answers
from training.classification import FEWEST_FACES, Crops, Labelled, balanced
from training.config import Config, TrainingError
from training.data.face_sets import FACES, TRAINING_SETS, FaceSet, read_set

# Of a face's probability, the least that the classes of a network must hold to learn from it.
LEAST_KNOWN = 0.6


def load_mixed_faces(_folder: Path, config: Config, taught: bool) -> Crops:
    """The sets that `config.shares` names. Without `taught` the answers of teachers are not read
    and faces without a label are only counted. Raises TrainingError or DataError."""
    if not config.shares or not set(config.shares) <= {*TRAINING_SETS}:
        raise TrainingError(
            f"shares must name some of {', '.join(TRAINING_SETS)}, got {config.shares}"
        )
    images, targets, weights = [], [], []
    counts = {}
    for name, share in config.shares.items():
        faces = read_set(FACES, name)
        its_targets = faces.targets
        if config.teacher_runs and taught:
            its_targets = _taught(faces, name, config)
        keep, its_targets = _of_classes(its_targets, config.classes)
        if config.fold >= 0:
            keep &= faces.folds != config.fold
        if not keep.any():  # nobody has said what they show
            counts[name] = len(faces)
            continue
        tensor = torch.from_numpy(its_targets[keep])
        drawn = balanced(tensor, config.balance)
        images.append(faces.where(keep).canvases(config.input_size))
        targets.append(tensor)
        weights.append(share * drawn / drawn.sum())
        counts[name] = int(keep.sum())
    wild = read_set(FACES, "wild_validation")
    return Crops(
        crops=torch.from_numpy(np.concatenate(images))[:, None],
        targets=torch.cat(targets),
        validation=_labelled(read_set(FACES, "ferplus_validation"), config, fewest=1),
        config=config,
        targets_name=f"cleaned votes, or two readings of a face, over {config.classes} emotions",
        source=_source(counts),
        weights=torch.cat(weights),
        count_of_faces=sum(counts.values()),
        wild=_labelled(wild, config, fewest=FEWEST_FACES),
    )


def _taught(faces: FaceSet, name: str, config: Config) -> NDArray[np.float32]:
    """Targets (n, 8) mixed with the answers of the teachers; the answers alone where no label is
    known."""
    answers = read_answers(config.teacher_runs, name, faces.folds)
    known = faces.targets.any(axis=1, keepdims=True)
    share = np.where(known, config.teacher_share, 1.0)
    return np.asarray(share * answers + (1 - share) * faces.targets, dtype=np.float32)


def _of_classes(
    targets: NDArray[np.float32], classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which rows hold at least LEAST_KNOWN for the first `classes` emotions, one of them the
    likeliest, and the rows over those emotions alone."""
    known = targets[:, :classes].sum(axis=1)
    keep = (known >= LEAST_KNOWN) & (targets.argmax(axis=1) < classes)
    scaled = targets[:, :classes] / np.where(known > 0, known, 1)[:, None]
    return keep, np.asarray(scaled, dtype=np.float32)


def _labelled(faces: FaceSet, config: Config, *, fewest: int) -> Labelled:
    labels = faces.labels
    keep = (labels >= 0) & (labels < config.classes)
    canvases = faces.where(keep).canvases(config.input_size)
    border = (canvases.shape[-1] - config.input_size) // 2
    middle = slice(border, border + config.input_size)
    crops = torch.from_numpy(np.ascontiguousarray(canvases[:, middle, middle]))[:, None]
    return Labelled(
        crops, torch.from_numpy(labels[keep]), torch.from_numpy(faces.sure[keep]), fewest
    )


def _source(counts: dict[str, int]) -> str:
    said = {
        "ferplus": "faces of FER+'s training split (FER2013 images, ten crowd votes each; each "
        "image once and none that is also in the validation split)",
        "wild": "faces of web photographs (Expression in-the-Wild), labelled by two independent "
        "readings of a vision-language model, not by people",
        "unlabelled": "faces of photographs without a label",
    }
    return ", ".join(f"{count:,} {said[name]}" for name, count in counts.items())
