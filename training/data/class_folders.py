"""Folders of images, one folder for each class: train/happiness/a.jpg …

Each image shows one centred face, and counts as ten votes for the class of its folder.
"""

from pathlib import Path

from app.vision.image import ImageFile, crop_face
from app.vision.types import Box
from training.data.split import DataError, Split, digest
from training.ferplus_labels import LABELS, VOTE_COLUMNS

# Folder names in other publications of FER2013.
ALIASES = {
    "happy": "happiness",
    "surprised": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
}
_MAX_PIXELS = 50_000_000
_VOTES = 10


def read(folder: Path, *, size: int) -> Split:
    """Read the images of all classes. Raises DataError for a folder that is not a class, and for a
    file that is not an image."""
    rows = []
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = ALIASES.get(class_folder.name.lower(), class_folder.name.lower())
        if name not in LABELS:
            raise DataError(
                f"{class_folder} is not a class; known: "
                f"{', '.join(LABELS)} and {', '.join(ALIASES)}"
            )
        votes = [0] * VOTE_COLUMNS
        votes[LABELS.index(name)] = _VOTES
        for path in sorted(path for path in class_folder.iterdir() if path.is_file()):
            try:
                gray = ImageFile(path.read_bytes(), max_pixels=_MAX_PIXELS).read().gray
            except Exception as error:
                raise DataError(f"{path} is not an image") from error
            height, width = gray.shape
            crop = crop_face(gray, Box(0, 0, width, height), size=size)
            rows.append((crop, votes, digest(gray)))
    if not rows:
        raise DataError(f"{folder} has no class folders with images")
    return Split.of(rows)
