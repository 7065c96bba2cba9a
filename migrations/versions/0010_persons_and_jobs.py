"""Add persons with their categories, tracks, independent scores, and the position of an image in a
job. No stored row changes: new columns are empty or have a default."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SUMS = ("valence", "arousal", "dominance")


def _image_columns() -> list[sa.Column]:
    return [
        sa.Column("person_count", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("person_model_id", big_id),
        sa.Column("category_threshold", sa.Double()),
        sa.Column("job_id", sa.String(32)),
        sa.Column("frame_index", sa.Integer()),
        sa.Column("position_ms", sa.BigInteger()),
    ]


def upgrade() -> None:
    for column in _image_columns():
        op.add_column("images", column)
    op.create_index(
        "ix_images_job_id_frame_index",
        "images",
        ["job_id", "frame_index"],
        unique=True,
        sqlite_where=sa.text("job_id IS NOT NULL"),
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.add_column("faces", sa.Column("track_id", sa.Integer()))
    op.add_column(
        "faces", sa.Column("exclusive", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.create_index(
        "ix_faces_exclusive",
        "faces",
        ["exclusive"],
        sqlite_where=sa.text("exclusive = 0"),
        postgresql_where=sa.text("NOT exclusive"),
    )
    _create_persons()
    _extend_rollups()


def _create_persons() -> None:
    op.create_table(
        "person_models",
        sa.Column("id", big_id, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_person_models"),
        sa.UniqueConstraint("digest", name="uq_person_models_digest"),
    )
    op.create_table(
        "persons",
        sa.Column("id", big_id, nullable=False),
        sa.Column("image_id", big_id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x1", sa.Double(), nullable=False),
        sa.Column("y1", sa.Double(), nullable=False),
        sa.Column("x2", sa.Double(), nullable=False),
        sa.Column("y2", sa.Double(), nullable=False),
        sa.Column("detection_score", sa.Double(), nullable=True),
        sa.Column("face_number", sa.Integer(), nullable=True),
        sa.Column("track_id", sa.Integer(), nullable=True),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint("id", name="pk_persons"),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name="fk_persons_image_id_images", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("image_id", "number", name="uq_persons_image_id_number"),
    )
    for name in SUMS:
        op.create_index(f"ix_persons_{name}", "persons", [name])
    op.create_table(
        "categories",
        sa.Column("person_id", big_id, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "position", name="pk_categories"),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["persons.id"],
            name="fk_categories_person_id_persons",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_categories_category_score", "categories", ["category", "score"])
    op.create_index(
        "ix_categories_category_person_id",
        "categories",
        ["category", "person_id"],
        sqlite_where=sa.text("shown = 1"),
        postgresql_where=sa.text("shown"),
    )


def _extend_rollups() -> None:
    # No image has persons yet, so the new sums of all hours are 0.
    op.add_column(
        "hours", sa.Column("persons", sa.BigInteger(), nullable=False, server_default="0")
    )
    for name in SUMS:
        op.add_column("hours", sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    # All stored scores are exclusive.
    op.add_column(
        "hour_emotions",
        sa.Column("exclusive_probability", sa.Double(), nullable=False, server_default="0"),
    )
    op.execute("UPDATE hour_emotions SET exclusive_probability = probability")
    op.create_table(
        "hour_categories",
        sa.Column("hour", sa.DateTime(), nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("category", sa.String(64), nullable=False),
        sa.Column("persons", sa.BigInteger(), nullable=False),
        sa.Column("shown", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "model_name", "category", name="pk_hour_categories"),
    )


def downgrade() -> None:
    _delete_faces_without_exclusive_scores()
    op.drop_table("hour_categories")
    op.drop_column("hour_emotions", "exclusive_probability")
    for name in ("persons", *SUMS):
        op.drop_column("hours", name)
    for table in ("categories", "persons", "person_models"):
        op.drop_table(table)
    op.drop_index("ix_faces_exclusive", "faces")
    for name in ("exclusive", "track_id"):
        op.drop_column("faces", name)
    op.drop_index("ix_images_job_id_frame_index", "images")
    for column in _image_columns():
        op.drop_column("images", column.name)


def _delete_faces_without_exclusive_scores() -> None:
    """Delete the faces that revision 0009 cannot read, because their scores do not sum to 1. Their
    images remain, with the other faces."""
    if op.get_bind().scalar(sa.text("SELECT id FROM faces WHERE NOT exclusive LIMIT 1")) is None:
        return
    op.execute("DELETE FROM emotions WHERE face_id IN (SELECT id FROM faces WHERE NOT exclusive)")
    op.execute(
        "UPDATE images SET face_count = (SELECT count(*) FROM faces"
        " WHERE faces.image_id = images.id AND faces.exclusive)"
        " WHERE id IN (SELECT image_id FROM faces WHERE NOT exclusive)"
    )
    op.execute("DELETE FROM faces WHERE NOT exclusive")
    # The rollups contain these faces. The service computes them again from the first image.
    op.execute("DELETE FROM hour_emotions")
    op.execute("DELETE FROM hours")
    op.execute("UPDATE mark SET image_id = 0")
