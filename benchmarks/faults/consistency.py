"""Comparison of the database and the folder of images with the responses."""

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import create_engine, text

from app.settings import ROOT
from benchmarks.faults.load import Outcome
from testbed.service import Service


@dataclass(frozen=True)
class ConsistencyReport:
    """Counts of images and files.

    - `stored`: rows of images.
    - `lost`: a 201 without a row with its id and name.
    - `duplicated`: names with several rows.
    - `incomplete`: rows without all faces, emotions or the file.
    - `unconfirmed`: names with a row but without a 201.
    - `scheduled`: files without an image whose removal is scheduled.
    - `orphans`: other files without an image.
    """

    stored: int
    lost: int
    duplicated: int
    incomplete: int
    unconfirmed: int
    scheduled: int
    orphans: int

    @property
    def passed(self) -> bool:
        """Whether every image with a 201 is stored once and completely, and nothing else."""
        return not any(
            (self.lost, self.duplicated, self.incomplete, self.unconfirmed, self.orphans)
        )


def check_consistency(database: str, outcome: Outcome, images_dir: Path) -> ConsistencyReport:
    """Read the database and the folder of images directly, without the code of the service."""
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        images = connection.execute(text("SELECT id, file_name, picture_file FROM images")).all()
        scheduled = set(connection.execute(text("SELECT name FROM file_removals")).scalars())
        faces = Counter(connection.execute(text("SELECT image_id FROM faces")).scalars())
        emotions: dict[int, int] = dict(
            connection.execute(
                text(
                    "SELECT faces.image_id, count(*) FROM emotions"
                    " JOIN faces ON faces.id = emotions.face_id GROUP BY faces.image_id"
                )
            ).all()
        )
    engine.dispose()
    names = Counter(image.file_name for image in images)
    rows = {(image.id, image.file_name) for image in images}
    file_of_image = {image.id: image.picture_file for image in images}
    files = {path.name for path in images_dir.glob("*/*")}
    without_image = files - set(file_of_image.values())
    incomplete = sum(
        faces[image_id] != face_count
        or emotions.get(image_id, 0) != 8 * face_count
        or file_of_image.get(image_id) not in files
        for image_id, face_count in outcome.accepted.values()
    )
    return ConsistencyReport(
        stored=len(images),
        lost=sum((image_id, name) not in rows for name, (image_id, _) in outcome.accepted.items()),
        duplicated=sum(count > 1 for count in names.values()),
        incomplete=incomplete,
        unconfirmed=sum(name not in outcome.accepted for name in names),
        scheduled=len(without_image & scheduled),
        orphans=len(without_image - scheduled),
    )


def check_after_retention(
    service: Service, database: str, outcome: Outcome, images_dir: Path
) -> ConsistencyReport:
    """Check the store before and after `retention run`, which must remove files without an image.

    `scheduled` is the number before `retention run`.
    """
    before = check_consistency(database, outcome, images_dir)
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:  # make all removals due immediately
        connection.execute(text("UPDATE file_removals SET due_at = '2000-01-01 00:00:00'"))
    engine.dispose()
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "retention", "run"]
    subprocess.run(command, cwd=ROOT, env=service.variables, check=True, capture_output=True)
    after = check_consistency(database, outcome, images_dir)
    orphans = before.orphans + after.orphans + after.scheduled
    return replace(after, scheduled=before.scheduled, orphans=orphans)
