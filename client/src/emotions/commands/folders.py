"""Finds images in folders and counts skipped files."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emotions.sources import SUFFIXES
from emotions.watch import STATE_NAME

MAX_SUFFIXES = 8  # the message about skipped files lists at most this many


@dataclass
class Found:
    """The images found for the path arguments of a command.

    `skipped` counts skipped files by suffix, `hidden` counts hidden files and folders, and
    `unreadable` has the folders that cannot be read, with the error.
    """

    images: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    unreadable: list[tuple[Path, OSError]] = field(default_factory=list)

    def skipped_message(self) -> str:
        """Example: `skipped 3 files that are not images: 2 .txt, 1 without suffix`."""
        total = self.skipped.total()
        files = "file that is not an image" if total == 1 else "files that are not images"
        counts = [f"{count} {suffix}" for suffix, count in self.skipped.most_common(MAX_SUFFIXES)]
        if others := len(self.skipped) - len(counts):
            counts.append(f"and {others} other file types")
        return f"skipped {total} {files}: {', '.join(counts)}"

    def hidden_message(self) -> str:
        """Example: `skipped 2 hidden files or folders`."""
        entries = "file or folder" if self.hidden == 1 else "files or folders"
        return f"skipped {self.hidden} hidden {entries}"


def find_images(paths: Iterable[Path]) -> Found:
    """Find the images for `paths`: each file, and in each folder all files with an image suffix.
    Skips hidden files and folders inside the folders, as `emotions watch` does."""
    found = Found()
    for path in paths:
        if path.is_dir():
            _search(path, found)
        else:
            found.images.append(path)
    return found


def _search(folder: Path, found: Found) -> None:
    def record_error(error: OSError) -> None:
        found.unreadable.append((Path(error.filename or folder), error))

    images = []
    for parent, folders, names in os.walk(folder, onerror=record_error):
        found.hidden += sum(name.startswith(".") for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent) / name for name in names):
            if path.name.startswith("."):
                # Do not count the state file of `emotions watch`.
                found.hidden += not path.name.startswith(STATE_NAME)
            elif path.suffix.lower() not in SUFFIXES:
                found.skipped[path.suffix.lower() or "without suffix"] += 1
            elif path.is_file():
                images.append(path)
            else:
                found.skipped["not a regular file"] += 1
    found.images.extend(sorted(images))
