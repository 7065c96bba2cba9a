"""Reads labelled faces from several layouts. Does not need torch, because evaluation uses it.

FER2013Train/, FER2013Valid/, FER2013Test/ or zips of them   FER+ in the layout of its authors
fer2013.csv and fer2013new.csv                               FER+ as published
train/happiness/a.jpg, valid/sadness/b.png …                 folders named after classes
"""

from pathlib import Path

from training.data import class_folders, fer2013_csv, ferplus_layout
from training.data.split import DataError, Split, first_of_each

__all__ = ["SPLITS", "DataError", "Split", "first_of_each", "read_split"]

SPLITS = tuple(ferplus_layout.FOLDERS)


def read_split(data: Path, split: str, *, size: int) -> Split:
    """Read the faces of `split`, one of SPLITS, as crops of `size`, from any layout in `data`.

    Raises DataError if there is no known layout, or if a file is invalid.
    """
    if (path := ferplus_layout.split_path(data, split)) is not None:
        return ferplus_layout.read(path, size=size)
    if (data / fer2013_csv.PIXELS).exists():
        return fer2013_csv.read(data, split, size=size)
    if (data / split).is_dir():
        return class_folders.read(data / split, size=size)
    raise DataError(
        f"{data} has no {split} split: neither {ferplus_layout.FOLDERS[split]} (folder or zip), "
        f"nor {fer2013_csv.PIXELS} with {fer2013_csv.VOTES}, nor class folders in {split}/"
    )
