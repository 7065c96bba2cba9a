"""Finds the images in files and folders, and counts skipped files."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emotions.sources import SUFFIXES
from emotions.watch import STATE_NAME

MOST_KINDS = 8  # suffixes of skipped files that are named


@dataclass
class Found:
    """The images in the paths of a command, the number of skipped files by suffix, the number of
    hidden files and folders, and the folders that cannot be read, with the reason."""

    images: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    unreadable: list[tuple[Path, OSError]] = field(default_factory=list)

    def skipped_in_words(self) -> str:
        """As `skipped 3 files that are not images: 2 .txt, 1 without suffix`."""
        total = self.skipped.total()
        are = "file that is not an image" if total == 1 else "files that are not images"
        kinds = [f"{count} {kind}" for kind, count in self.skipped.most_common(MOST_KINDS)]
        if others := len(self.skipped) - len(kinds):
            kinds.append(f"and {others} other kinds")
        return f"skipped {total} {are}: {', '.join(kinds)}"

    def hidden_in_words(self) -> str:
        """As `skipped 2 hidden files or folders`."""
        entries = "file or folder" if self.hidden == 1 else "files or folders"
        return f"skipped {self.hidden} hidden {entries}"


def find_images(paths: Iterable[Path]) -> Found:
    """Return the named files, and all files in the named folders with the suffix of an image.
    Hidden files and folders within are skipped, as by `emotions watch`."""
    found = Found()
    for path in paths:
        if path.is_dir():
            _search(path, found)
        else:
            found.images.append(path)
    return found


def _search(folder: Path, found: Found) -> None:
    def note(error: OSError) -> None:
        found.unreadable.append((Path(error.filename or folder), error))

    images = []
    for parent, folders, names in os.walk(folder, onerror=note):
        found.hidden += sum(name.startswith(".") for name in folders)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent) / name for name in names):
            if path.name.startswith("."):
                found.hidden += not path.name.startswith(STATE_NAME)  # of `emotions watch`
            elif path.suffix.lower() not in SUFFIXES:
                found.skipped[path.suffix.lower() or "without suffix"] += 1
            elif path.is_file():
                images.append(path)
            else:
                found.skipped["not a regular file"] += 1
    found.images.extend(sorted(images))
