"""Add images.rotation: the degrees by which an image was turned to find faces. 0 for old images."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("images", sa.Column("rotation", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("images", "rotation")
