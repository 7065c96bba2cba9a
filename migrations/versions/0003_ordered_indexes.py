"""Index the images of a file name or model in page order, and add faces.dominant_probability.

With this column, filters need not read all emotions of a face.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INDEXED_COLUMNS = ("file_name", "model_name")


def upgrade() -> None:
    for column in INDEXED_COLUMNS:
        op.drop_index(f"ix_images_{column}", "images")
        op.create_index(f"ix_images_{column}_created_at_id", "images", [column, "created_at", "id"])
    probability = sa.Column("dominant_probability", sa.Double(), nullable=False, server_default="0")
    op.add_column("faces", probability)
    op.execute(
        "UPDATE faces SET dominant_probability = coalesce("
        "(SELECT max(probability) FROM emotions WHERE emotions.face_id = faces.id), 0)"
    )
    op.drop_index("ix_emotions_probability", "emotions")
    op.drop_index("ix_faces_dominant", "faces")
    for columns in (["dominant", "dominant_probability"], ["dominant_probability"]):
        op.create_index(f"ix_faces_{'_'.join(columns)}", "faces", columns)


def downgrade() -> None:
    for index in ("ix_faces_dominant_probability", "ix_faces_dominant_dominant_probability"):
        op.drop_index(index, "faces")
    op.create_index("ix_faces_dominant", "faces", ["dominant"])
    op.create_index("ix_emotions_probability", "emotions", ["probability"])
    op.drop_column("faces", "dominant_probability")
    for column in INDEXED_COLUMNS:
        op.drop_index(f"ix_images_{column}_created_at_id", "images")
        op.create_index(f"ix_images_{column}", "images", [column])
