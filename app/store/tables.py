"""The tables. One row for each face and emotion, so that 5, 8 or 26 classes fit alike and any
threshold can be applied later. Pictures themselves are files, if they are kept at all: see
app.store.image_folder."""

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
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from app.store.records import LONGEST_FILE_NAME


class UtcDateTime(TypeDecorator[datetime]):
    """Aware in Python, UTC without a zone in the database, alike on every database."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    # Named constraints: a migration can only drop what has a name.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# SQLite counts up only in a column declared INTEGER, which is 64 bits wide there anyway.
BigId = BigInteger().with_variant(Integer, "sqlite")

db = SQLAlchemy(model_class=Base, disable_autonaming=True)


# Most images have no picture: an index of the others stays small.
_IS_KEPT = text("picture_file IS NOT NULL")
_WHERE_KEPT: dict[str, Any] = {"sqlite_where": _IS_KEPT, "postgresql_where": _IS_KEPT}


class ImageRow(Base):
    __tablename__ = "images"
    __table_args__ = (
        # The order of every page, newest first, and the range of since/until.
        Index(None, "created_at", "id"),
        # The same order among images of one value: see app.store.matching.
        Index(None, "file_name", "created_at", "id"),
        Index(None, "model_name", "created_at", "id"),
        Index(None, "face_count"),
        Index(None, "picture_file", unique=True, **_WHERE_KEPT),
        # An erased id is never given out again.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    file_name: Mapped[str] = mapped_column(String(LONGEST_FILE_NAME))
    threshold: Mapped[float]
    width: Mapped[int]
    height: Mapped[int]
    # How many rows of `faces` belong here: filtered on (min_faces) without counting them.
    face_count: Mapped[int]
    model_name: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str] = mapped_column(String(32))
    model_sha256: Mapped[str] = mapped_column(String(64))
    detector: Mapped[str] = mapped_column(String(64))
    # PostgreSQL can compare a default of JSONB with that of a migration, of JSON it cannot.
    dropped: Mapped[dict[str, int]] = mapped_column(
        JSON().with_variant(JSONB(), "postgresql"), server_default="{}"
    )
    timings_ms: Mapped[dict[str, float]] = mapped_column(JSON)
    # Degrees clockwise by which the image was turned to find its faces.
    rotation: Mapped[int] = mapped_column(server_default="0")
    # The file of a kept image, and its SHA-256 where it is plain. An encrypted file has none: the
    # encryption detects changes itself.
    picture_file: Mapped[str | None] = mapped_column(String(32))
    picture_sha256: Mapped[str | None] = mapped_column(String(64))

    faces: Mapped[list["FaceRow"]] = relationship(
        order_by="FaceRow.number", passive_deletes=True, lazy="raise"
    )


class FaceRow(Base):
    __tablename__ = "faces"
    __table_args__ = (
        UniqueConstraint("image_id", "number"),
        Index(None, "dominant", "dominant_probability"),
        Index(None, "dominant_probability"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    number: Mapped[int]  # `face_id` of the documented JSON: counts from 1 within the picture
    x1: Mapped[float]
    y1: Mapped[float]
    x2: Mapped[float]
    y2: Mapped[float]
    detection_score: Mapped[float | None]
    # The most probable emotion, which follows from `emotions`: filtered and counted by.
    dominant: Mapped[str] = mapped_column(String(64))
    dominant_probability: Mapped[float] = mapped_column(server_default="0")

    image: Mapped[ImageRow] = relationship(viewonly=True, lazy="raise")
    emotions: Mapped[list["EmotionRow"]] = relationship(
        order_by="EmotionRow.position", passive_deletes=True, lazy="raise"
    )


class EmotionRow(Base):
    __tablename__ = "emotions"
    __table_args__ = (Index(None, "emotion", "probability"),)

    face_id: Mapped[int] = mapped_column(
        ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)  # in the model's order of labels
    emotion: Mapped[str] = mapped_column(String(64))
    probability: Mapped[float]


class HourRow(Base):
    """Sums over images, by the hour they were made in: see app.store.rollups."""

    __tablename__ = "hours"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    model_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    images: Mapped[int] = mapped_column(BigInteger)
    faces: Mapped[int] = mapped_column(BigInteger)


class HourEmotionRow(Base):
    """Sums over the faces of an hour whose model knows the emotion."""

    __tablename__ = "hour_emotions"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    model_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    emotion: Mapped[str] = mapped_column(String(64), primary_key=True)
    faces: Mapped[int] = mapped_column(BigInteger)
    dominant: Mapped[int] = mapped_column(BigInteger)
    probability: Mapped[float]


class WatermarkRow(Base):
    """One row: the id up to which images are in the sums."""

    __tablename__ = "mark"

    image_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)


class StoreRow(Base):
    """A single row with the random mark of this database, which names of kept files end with."""

    __tablename__ = "store"

    mark: Mapped[str] = mapped_column(String(12), primary_key=True)


class FileRemovalRow(Base):
    """A file of a kept image that will be removed from `due_at` on. `image_id` is its erased image,
    or null if its image was not committed. See app.store.kept_images."""

    __tablename__ = "file_removals"
    __table_args__ = (Index(None, "due_at"),)

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    image_id: Mapped[int | None] = mapped_column(BigId)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)


class IdempotencyRow(Base):
    """What a request with an Idempotency-Key made: see app.store.idempotency."""

    __tablename__ = "retries"
    __table_args__ = (Index(None, "created_at"), Index(None, "image_id"))

    caller: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyRow(Base):
    """An API key: see app.keys. Revoked ones stay."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    secret_hash: Mapped[str] = mapped_column(String(255))
    rights: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
