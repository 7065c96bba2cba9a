"""The tables of the hourly rollups. app.store.rollups updates them."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.store.tables import Base, BigId, UtcDateTime


class HourRow(Base):
    """The number of images of one hour and model, and sums over their faces and persons."""

    __tablename__ = "hours"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    model_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    images: Mapped[int] = mapped_column(BigInteger)
    faces: Mapped[int] = mapped_column(BigInteger)
    persons: Mapped[int] = mapped_column(BigInteger, server_default="0")
    valence: Mapped[float] = mapped_column(server_default="0")
    arousal: Mapped[float] = mapped_column(server_default="0")
    dominance: Mapped[float] = mapped_column(server_default="0")


class HourEmotionRow(Base):
    """Sums over the faces of one hour and model, for one emotion.

    `dominant` counts the faces with this dominant emotion. `probability` sums the
    probabilities of all faces, `exclusive_probability` only of faces with exclusive scores.
    """

    __tablename__ = "hour_emotions"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    model_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    emotion: Mapped[str] = mapped_column(String(64), primary_key=True)
    faces: Mapped[int] = mapped_column(BigInteger)
    dominant: Mapped[int] = mapped_column(BigInteger)
    probability: Mapped[float]
    exclusive_probability: Mapped[float] = mapped_column(server_default="0")


class HourCategoryRow(Base):
    """Sums over the persons of one hour and model, for one category.

    `shown` counts the persons that show the category.
    """

    __tablename__ = "hour_categories"

    hour: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    model_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    category: Mapped[str] = mapped_column(String(64), primary_key=True)
    persons: Mapped[int] = mapped_column(BigInteger)
    shown: Mapped[int] = mapped_column(BigInteger)
    score: Mapped[float]


class WatermarkRow(Base):
    """A single row with the watermark: the highest image id that the rollups include."""

    __tablename__ = "mark"

    image_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
