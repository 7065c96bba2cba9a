"""Create the hourly rollups and their watermark, and fill them from the existing images."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
HOUR = {
    "sqlite": "strftime('%Y-%m-%d %H:00:00.000000', i.created_at)",
    "postgresql": "date_trunc('hour', i.created_at)",
}


def upgrade() -> None:
    op.create_table(
        "hours",
        sa.Column("hour", sa.DateTime(), nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("faces", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "model_name", name="pk_hours"),
    )
    op.create_table(
        "hour_emotions",
        sa.Column("hour", sa.DateTime(), nullable=False),
        sa.Column("model_name", sa.String(64), nullable=False),
        sa.Column("emotion", sa.String(64), nullable=False),
        sa.Column("faces", sa.BigInteger(), nullable=False),
        sa.Column("dominant", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "model_name", "emotion", name="pk_hour_emotions"),
    )
    op.create_table(
        "mark",
        sa.Column("image_id", big_id, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_mark"),
    )
    hour = HOUR[op.get_bind().dialect.name]
    op.execute(
        # `hour` is one of the expressions above.
        f"INSERT INTO hours SELECT {hour}, i.model_name, count(*), sum(i.face_count) "  # nosec B608
        f"FROM images AS i GROUP BY 1, 2"
    )
    op.execute(
        f"INSERT INTO hour_emotions SELECT {hour}, i.model_name, e.emotion, count(*), "  # nosec B608
        f"sum(CASE WHEN e.emotion = f.dominant THEN 1 ELSE 0 END), sum(e.probability) "
        f"FROM images AS i JOIN faces AS f ON f.image_id = i.id "
        f"JOIN emotions AS e ON e.face_id = f.id GROUP BY 1, 2, 3"
    )
    op.execute("INSERT INTO mark SELECT coalesce(max(id), 0) FROM images")


def downgrade() -> None:
    for table in ("mark", "hour_emotions", "hours"):
        op.drop_table(table)
