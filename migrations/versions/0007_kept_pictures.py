"""Add images.picture_file: the name of the stored image file."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("images", sa.Column("picture_file", sa.String(32), nullable=True))
    op.create_index(
        "ix_images_picture_file",
        "images",
        ["picture_file"],
        unique=True,
        sqlite_where=sa.text("picture_file IS NOT NULL"),
        postgresql_where=sa.text("picture_file IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_images_picture_file", "images")
    op.drop_column("images", "picture_file")
