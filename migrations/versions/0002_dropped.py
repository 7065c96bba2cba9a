"""Add images.dropped: the number of faces that each detection option excluded."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("images", sa.Column("dropped", json, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("images", "dropped")
