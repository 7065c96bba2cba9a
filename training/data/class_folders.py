"""Plain folders of images, one folder for each class: train/happiness/a.jpg …

Each image is one face, centred, and counts as ten votes for its folder's class.
"""

from pathlib import Path

from app.vision.image import ImageFile, crop_face
from app.vision.types import Box
from training.data.split import DataError, Split, digest
from training.votes import LABELS, VOTE_COLUMNS

# What the folders of other publications of FER2013 are called.
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
    """Every image of every class. Raises DataError for a folder that is no class and for a
    file that is no image."""
    rows = []
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = ALIASES.get(class_folder.name.lower(), class_folder.name.lower())
        if name not in LABELS:
            raise DataError(
                f"{class_folder} is no class; known: {', '.join(LABELS)} and {', '.join(ALIASES)}"
            )
        votes = [0] * VOTE_COLUMNS
        votes[LABELS.index(name)] = _VOTES
        for path in sorted(path for path in class_folder.iterdir() if path.is_file()):
            try:
                gray = ImageFile(path.read_bytes(), max_pixels=_MAX_PIXELS).read().gray
            except Exception as error:
                raise DataError(f"{path} is no picture") from error
            height, width = gray.shape
            crop = crop_face(gray, Box(0, 0, width, height), size=size)
            rows.append((crop, votes, digest(gray)))
    if not rows:
        raise DataError(f"{folder} holds no class folders with pictures")
    return Split.of(rows)
