"""Create the tables of images, of their faces, and of the emotions of each face."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "images",
        sa.Column("id", big_id, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("face_count", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("model_version", sa.String(32), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("timings_ms", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_images_created_at_id", "images", ["created_at", "id"])
    op.create_index("ix_images_face_count", "images", ["face_count"])
    op.create_index("ix_images_file_name", "images", ["file_name"])
    op.create_index("ix_images_model_name", "images", ["model_name"])

    op.create_table(
        "faces",
        sa.Column("id", big_id, nullable=False),
        sa.Column("image_id", big_id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x1", sa.Double(), nullable=False),
        sa.Column("y1", sa.Double(), nullable=False),
        sa.Column("x2", sa.Double(), nullable=False),
        sa.Column("y2", sa.Double(), nullable=False),
        sa.Column("detection_score", sa.Double(), nullable=True),
        sa.Column("dominant", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_faces"),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name="fk_faces_image_id_images", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("image_id", "number", name="uq_faces_image_id_number"),
    )
    op.create_index("ix_faces_dominant", "faces", ["dominant"])

    op.create_table(
        "emotions",
        sa.Column("face_id", big_id, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("emotion", sa.String(64), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("face_id", "position", name="pk_emotions"),
        sa.ForeignKeyConstraint(
            ["face_id"], ["faces.id"], name="fk_emotions_face_id_faces", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_emotions_emotion_probability", "emotions", ["emotion", "probability"])
    op.create_index("ix_emotions_probability", "emotions", ["probability"])


def downgrade() -> None:
    op.drop_table("emotions")
    op.drop_table("faces")
    op.drop_table("images")
