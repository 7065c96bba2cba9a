"""Images of one name or model are indexed in the order of pages."""

from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = ("file_name", "model_name")


def upgrade() -> None:
    for column in COLUMNS:
        op.drop_index(f"ix_images_{column}", "images")
        op.create_index(f"ix_images_{column}_created_at_id", "images", [column, "created_at", "id"])


def downgrade() -> None:
    for column in COLUMNS:
        op.drop_index(f"ix_images_{column}_created_at_id", "images")
        op.create_index(f"ix_images_{column}", "images", [column])
