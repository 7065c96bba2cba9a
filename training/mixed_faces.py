"""Training data of the task `mixed_faces`: several sets of faces from training.pack.

The sets are FER+, labelled wild faces (web photographs), and faces without a label. The targets of
faces without a label are the soft labels of teachers (Xie et al. 2020, arXiv 1911.04252). The
targets of the other faces are mixtures of their labels and the soft labels (Hinton et al. 2015,
arXiv 1503.02531).
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.classification import MIN_CLASS_FACES, Crops, LabelledCrops, balanced
from training.config import Config, TrainingError
from training.data.face_sets import FACES, TRAINING_SETS, FaceSet, read_set
from training.soft_labels import read_soft_labels

# Minimum probability that a target gives to the classes of the network; other faces are left out.
MIN_KNOWN = 0.6


def load_mixed_faces(_folder: Path, config: Config, with_teachers: bool) -> Crops:
    """Load the sets that `config.shares` names. Without `with_teachers`, soft labels are not read,
    and faces without a label are only counted. Raises TrainingError or DataError."""
    if not config.shares or not set(config.shares) <= {*TRAINING_SETS}:
        raise TrainingError(
            f"shares must name some of {', '.join(TRAINING_SETS)}, got {config.shares}"
        )
    images, targets, weights = [], [], []
    counts = {}
    for name, share in config.shares.items():
        faces = read_set(FACES, name)
        set_targets = faces.targets
        if config.teacher_runs and with_teachers:
            set_targets = _mixed_targets(faces, name, config)
        keep, set_targets = _of_classes(set_targets, config.classes)
        if config.fold >= 0:
            keep &= faces.folds != config.fold
        if not keep.any():  # without labels and without soft labels
            counts[name] = len(faces)
            continue
        kept_targets = torch.from_numpy(set_targets[keep])
        class_weights = balanced(kept_targets, config.balance)
        images.append(faces.where(keep).canvases(config.input_size))
        targets.append(kept_targets)
        weights.append(share * class_weights / class_weights.sum())
        counts[name] = int(keep.sum())
    wild = read_set(FACES, "wild_validation")
    return Crops(
        crops=torch.from_numpy(np.concatenate(images))[:, None],
        targets=torch.cat(targets),
        validation=_labelled(read_set(FACES, "ferplus_validation"), config, min_class_faces=1),
        config=config,
        targets_name=f"labels over {config.classes} emotions (distribution of the FER+ votes "
        "without single votes, or mean of two annotations of a face)",
        source=_source(counts),
        weights=torch.cat(weights),
        count_of_faces=sum(counts.values()),
        wild=_labelled(wild, config, min_class_faces=MIN_CLASS_FACES),
    )


def _mixed_targets(faces: FaceSet, name: str, config: Config) -> NDArray[np.float32]:
    """Mix the labels with the soft labels of the teachers: targets (n, 8). Faces without a label
    get the soft labels."""
    soft_labels = read_soft_labels(config.teacher_runs, name, faces.folds)
    known = faces.targets.any(axis=1, keepdims=True)
    share = np.where(known, config.teacher_share, 1.0)
    return np.asarray(share * soft_labels + (1 - share) * faces.targets, dtype=np.float32)


def _of_classes(
    targets: NDArray[np.float32], classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Restrict targets to the first `classes` emotions. Return which rows to keep (n,), and the
    normalised rows (n, classes). A row is kept if these emotions have at least MIN_KNOWN and
    contain the most probable one."""
    known = targets[:, :classes].sum(axis=1)
    keep = (known >= MIN_KNOWN) & (targets.argmax(axis=1) < classes)
    scaled = targets[:, :classes] / np.where(known > 0, known, 1)[:, None]
    return keep, np.asarray(scaled, dtype=np.float32)


def _labelled(faces: FaceSet, config: Config, *, min_class_faces: int) -> LabelledCrops:
    labels = faces.labels
    keep = (labels >= 0) & (labels < config.classes)
    canvases = faces.where(keep).canvases(config.input_size)
    border = (canvases.shape[-1] - config.input_size) // 2
    centre = slice(border, border + config.input_size)
    crops = torch.from_numpy(np.ascontiguousarray(canvases[:, centre, centre]))[:, None]
    return LabelledCrops(
        crops, torch.from_numpy(labels[keep]), torch.from_numpy(faces.sure[keep]), min_class_faces
    )


def _source(counts: dict[str, int]) -> str:
    descriptions = {
        "ferplus": "faces of the FER+ training split (FER2013 images with ten crowd votes each, "
        "without duplicates and without images of the validation split)",
        "wild": "faces on web photographs (Expression in-the-Wild), annotated twice, "
        "independently, by a vision-language model, not by people",
        "unlabelled": "unlabelled faces on photographs",
    }
    return ", ".join(f"{count:,} {descriptions[name]}" for name, count in counts.items())
