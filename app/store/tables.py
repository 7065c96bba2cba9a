"""The tables of the database. app.store.rollup_tables has the tables of the rollups.

Each score of a face or person is a row, so that models may have any number of labels and thresholds
can be applied later. app.store.image_store stores the files of kept images.
"""

from datetime import UTC, datetime
from typing import Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    UniqueConstraint,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from app.store.records import LONGEST_FILE_NAME


class UtcDateTime(TypeDecorator[datetime]):
    """A time that is aware in Python, and stored in UTC without a time zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    # Migrations need the names of constraints to drop them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# SQLite generates ids only in columns of type INTEGER, which have 64 bits in SQLite.
BigId = BigInteger().with_variant(Integer, "sqlite")

db = SQLAlchemy(model_class=Base, disable_autonaming=True)


def _where(sqlite: str, postgresql: str | None = None) -> dict[str, Any]:
    """Return the options of a partial index, which holds only the rows that meet a condition."""
    return {"sqlite_where": text(sqlite), "postgresql_where": text(postgresql or sqlite)}


class ImageRow(Base):
    __tablename__ = "images"
    __table_args__ = (
        # For pages, and for since and until.
        Index(None, "created_at", "id"),
        # For pages of images with one file name or model.
        Index(None, "file_name", "created_at", "id"),
        Index(None, "model_name", "created_at", "id"),
        Index(None, "face_count"),
        Index(None, "picture_file", unique=True, **_where("picture_file IS NOT NULL")),
        # For pages of a job. A job stores each frame or item once.
        Index(None, "job_id", "frame_index", unique=True, **_where("job_id IS NOT NULL")),
        # SQLite never uses the id of an erased image again.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    file_name: Mapped[str] = mapped_column(String(LONGEST_FILE_NAME))
    threshold: Mapped[float]
    width: Mapped[int]
    height: Mapped[int]
    # The number of rows in `faces`, for the filter min_faces.
    face_count: Mapped[int]
    model_name: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str] = mapped_column(String(32))
    model_sha256: Mapped[str] = mapped_column(String(64))
    detector: Mapped[str] = mapped_column(String(64))
    # JSONB, because the migration test compares defaults. PostgreSQL cannot compare JSON.
    dropped: Mapped[dict[str, int]] = mapped_column(
        JSON().with_variant(JSONB(), "postgresql"), server_default="{}"
    )
    timings_ms: Mapped[dict[str, float]] = mapped_column(JSON)
    # Clockwise rotation in degrees that was applied before the detection.
    rotation: Mapped[int] = mapped_column(server_default="0")
    # The number of rows in `persons`. Without persons, a page needs no query for them.
    person_count: Mapped[int] = mapped_column(server_default="0")
    # A row of `person_models`, which are never deleted. Not a foreign key, because SQLite must copy
    # the table to add one.
    person_model_id: Mapped[int | None] = mapped_column(BigId)
    # The option of the request that replaces the thresholds of the person model.
    category_threshold: Mapped[float | None]
    # The job of the image, its index in the job from 0, and the time of a video or stream frame.
    job_id: Mapped[str | None] = mapped_column(String(32))
    frame_index: Mapped[int | None]
    position_ms: Mapped[int | None] = mapped_column(BigInteger)
    # The file of a kept image, and the SHA-256 of a plain file. An encrypted file needs no SHA-256,
    # because decryption detects changes.
    picture_file: Mapped[str | None] = mapped_column(String(32))
    picture_sha256: Mapped[str | None] = mapped_column(String(64))


class FaceRow(Base):
    __tablename__ = "faces"
    __table_args__ = (
        UniqueConstraint("image_id", "number"),
        Index(None, "dominant", "dominant_probability"),
        Index(None, "dominant_probability"),
        # For app.store.matching, which asks whether any face has independent scores.
        Index(None, "exclusive", **_where("exclusive = 0", "NOT exclusive")),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    number: Mapped[int]  # `face_id` in the JSON: counts from 1 within the image
    x1: Mapped[float]
    y1: Mapped[float]
    x2: Mapped[float]
    y2: Mapped[float]
    detection_score: Mapped[float | None]
    # The emotion with the highest probability, copied from `emotions` for filters and counts.
    dominant: Mapped[str] = mapped_column(String(64))
    dominant_probability: Mapped[float] = mapped_column(server_default="0")
    # Whether the probabilities are a distribution that sums to 1.
    exclusive: Mapped[bool] = mapped_column(server_default=true())
    track_id: Mapped[int | None]


class EmotionRow(Base):
    __tablename__ = "emotions"
    __table_args__ = (Index(None, "emotion", "probability"),)

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)  # in the model's order of labels
    emotion: Mapped[str] = mapped_column(String(64))
    probability: Mapped[float]


class PersonRow(Base):
    """A person of an image. Valence, arousal and dominance are between 1 and 10."""

    __tablename__ = "persons"
    __table_args__ = (
        UniqueConstraint("image_id", "number"),
        Index(None, "valence"),
        Index(None, "arousal"),
        Index(None, "dominance"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    number: Mapped[int]  # `person_id` in the JSON: counts from 1 within the image
    x1: Mapped[float]
    y1: Mapped[float]
    x2: Mapped[float]
    y2: Mapped[float]
    detection_score: Mapped[float | None]
    face_number: Mapped[int | None]  # the `number` of the person's face in the same image
    track_id: Mapped[int | None]
    exclusive: Mapped[bool]
    valence: Mapped[float]
    arousal: Mapped[float]
    dominance: Mapped[float]


class CategoryRow(Base):
    """The score of one category of a person. `shown` is true if the score reaches the threshold."""

    __tablename__ = "categories"
    __table_args__ = (
        Index(None, "category", "score"),
        Index(None, "category", "person_id", **_where("shown = 1", "shown")),
        # The indexes contain the primary key, so filters do not read the table itself.
        {"sqlite_with_rowid": False},
    )

    person_id: Mapped[int] = mapped_column(
        ForeignKey("persons.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)  # in the model's order of labels
    category: Mapped[str] = mapped_column(String(64))
    score: Mapped[float]
    shown: Mapped[bool]


class PersonModelRow(Base):
    """A model that scores persons, and its thresholds by category.

    `digest` is a hash of the other columns except `id`.
    """

    __tablename__ = "person_models"
    __table_args__ = (UniqueConstraint("digest"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    sha256: Mapped[str] = mapped_column(String(64))
    thresholds: Mapped[dict[str, float]] = mapped_column(JSON)


class StoreRow(Base):
    """A single row with random digits that identify this database.

    The names of image files end with these digits.
    """

    __tablename__ = "store"

    database_id: Mapped[str] = mapped_column("mark", String(12), primary_key=True)


class FileRemovalRow(Base):
    """The scheduled removal of a kept image's file; see app.store.kept_images.

    Any process may remove the file after `due_at`. `image_id` is the erased image, or null if the
    image was not committed.
    """

    __tablename__ = "file_removals"
    __table_args__ = (Index(None, "due_at"),)

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    image_id: Mapped[int | None] = mapped_column(BigId)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)


class IdempotencyRow(Base):
    """The record of an image that a request with an Idempotency-Key stored."""

    __tablename__ = "retries"
    __table_args__ = (Index(None, "created_at"), Index(None, "image_id"))

    caller: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyRow(Base):
    """An API key. Revoked keys are not deleted."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    secret_hash: Mapped[str] = mapped_column(String(255))
    rights: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
