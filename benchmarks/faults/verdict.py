"""Compares what the database and the folder of images hold with what clients saw."""

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
class Verdict:
    """`stored` rows of images; `lost` have a 201 and no row with its id and name; `doubled` names
    have several rows; `torn` rows lack faces, emotions or their picture; `unasked` rows have no
    201; `waiting` files belong to no image and are scheduled to be removed; `strays` are other
    files that belong to no image."""

    stored: int
    lost: int
    doubled: int
    torn: int
    unasked: int
    waiting: int
    strays: int

    @property
    def well(self) -> bool:
        return not (self.lost or self.doubled or self.torn or self.unasked or self.strays)


def judge(database: str, outcome: Outcome, pictures: Path) -> Verdict:
    """Look into the database and the folder of `pictures` themselves, with no code of the
    service."""
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
    its_file = {image.id: image.picture_file for image in images}
    files = {path.name for path in pictures.glob("*/*")}
    unowned = files - set(its_file.values())
    torn = sum(
        faces[number] != its_faces
        or emotions.get(number, 0) != 8 * its_faces
        or its_file.get(number) not in files
        for number, its_faces in outcome.accepted.values()
    )
    return Verdict(
        stored=len(images),
        lost=sum((number, name) not in rows for name, (number, _) in outcome.accepted.items()),
        doubled=sum(count > 1 for count in names.values()),
        torn=torn,
        unasked=sum(name not in outcome.accepted for name in names),
        waiting=len(unowned & scheduled),
        strays=len(unowned - scheduled),
    )


def judge_and_clean(service: Service, database: str, outcome: Outcome, pictures: Path) -> Verdict:
    """Judge before and after `retention run`, which must leave no file without an image. `waiting`
    is the number before it."""
    before = judge(database, outcome, pictures)
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:  # make all removals due, as after a minute
        connection.execute(text("UPDATE file_removals SET due_at = '2000-01-01 00:00:00'"))
    engine.dispose()
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "retention", "run"]
    subprocess.run(command, cwd=ROOT, env=service.variables, check=True, capture_output=True)
    after = judge(database, outcome, pictures)
    strays = before.strays + after.strays + after.waiting
    return replace(after, waiting=before.waiting, strays=strays)
