"""Inserts an image with its faces, persons, scores, idempotency record and file name."""

import hashlib
import json
from dataclasses import astuple

from sqlalchemy import Connection, insert, select

from app.store import mapping
from app.store.dialect import upsert
from app.store.idempotency import IdempotentRequest, insert_record
from app.store.kept_images import KeptFile, cancel_removal
from app.store.tables import (
    CategoryRow,
    EmotionRow,
    FaceRow,
    ImageRow,
    PersonModelRow,
    PersonRow,
    db,
)
from app.vision.types import Analysis, PersonModel


def insert_analysis(
    analysis: Analysis, idempotent: IdempotentRequest | None, file: KeptFile | None
) -> int:
    """Insert an analysis in the current transaction and return its id. Raises AlreadyStored,
    KeyReused and StoreUnavailable; see `insert_record` and `cancel_removal`."""
    # Core statements, because inserts by the ORM take 1.5 times as long.
    connection = db.session.connection()
    values = mapping.image_values(analysis, _person_model_id(connection, analysis.person_model))
    if file:
        values |= {"picture_file": file.name, "picture_sha256": file.digest}
    image_id: int = connection.execute(insert(ImageRow).returning(ImageRow.id), values).scalar_one()
    if file:
        cancel_removal(file)
    if idempotent:
        insert_record(connection, idempotent, image_id)
    _insert_faces(connection, image_id, analysis)
    _insert_persons(connection, image_id, analysis)
    return image_id


def _insert_faces(connection: Connection, image_id: int, analysis: Analysis) -> None:
    if not analysis.faces:
        return
    face_ids = connection.scalars(
        insert(FaceRow).returning(FaceRow.id, sort_by_parameter_order=True),
        mapping.face_values(image_id, analysis.faces),
    ).all()
    connection.execute(insert(EmotionRow), mapping.emotion_values(face_ids, analysis.faces))


def _insert_persons(connection: Connection, image_id: int, analysis: Analysis) -> None:
    if not analysis.persons:
        return
    person_ids = connection.scalars(
        insert(PersonRow).returning(PersonRow.id, sort_by_parameter_order=True),
        mapping.person_values(image_id, analysis.persons),
    ).all()
    connection.execute(
        insert(CategoryRow),
        mapping.category_values(person_ids, analysis.persons, analysis.person_model),
    )


def _person_model_id(connection: Connection, model: PersonModel | None) -> int | None:
    """Return the id of the row of a model and its thresholds. Inserts the row if it is new."""
    if model is None:
        return None
    name, version, sha256 = astuple(model.ref)
    thresholds = dict(model.thresholds)
    # The digest includes the order of the thresholds, which an analysis must keep.
    described = json.dumps([name, version, sha256, list(thresholds.items())])
    digest = hashlib.sha256(described.encode()).hexdigest()
    known = select(PersonModelRow.id).where(PersonModelRow.digest == digest)
    if (model_id := connection.scalar(known)) is not None:
        return model_id
    # Another process may insert the same row at the same time.
    added = upsert(PersonModelRow).values(
        digest=digest, name=name, version=version, sha256=sha256, thresholds=thresholds
    )
    connection.execute(added.on_conflict_do_nothing(index_elements=["digest"]))
    return connection.execute(known).scalar_one()
