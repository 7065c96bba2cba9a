"""Create the table of idempotent requests and their stored images."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "retries",
        sa.Column("caller", sa.String(32), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("image_id", big_id, nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name="fk_retries_image_id_images", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("caller", "key", "position", name="pk_retries"),
    )
    op.create_index("ix_retries_created_at", "retries", ["created_at"])
    op.create_index("ix_retries_image_id", "retries", ["image_id"])


def downgrade() -> None:
    op.drop_table("retries")
