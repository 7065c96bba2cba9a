"""Add scheduled file removals, the id of the database and the SHA-256 of unencrypted image files.

The id is part of the names of new files. This migration reads each existing file once and records
its SHA-256 if it is unencrypted. From then on the service rejects an unencrypted file in the place
of an encrypted one. Missing files count as encrypted, so no unencrypted file can replace them.
"""

import hashlib
import logging
import secrets
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from flask import current_app

revision = "0008"
down_revision = "0007"

big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
log = logging.getLogger(__name__)

ENCRYPTED = b"emotion\x01"


def upgrade() -> None:
    store = op.create_table(
        "store",
        sa.Column("mark", sa.String(12), nullable=False),
        sa.PrimaryKeyConstraint("mark", name="pk_store"),
    )
    op.bulk_insert(store, [{"mark": secrets.token_hex(6)}])
    op.create_table(
        "file_removals",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("image_id", big_id, nullable=True),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_file_removals"),
    )
    op.create_index("ix_file_removals_due_at", "file_removals", ["due_at"])
    op.add_column("images", sa.Column("picture_sha256", sa.String(64), nullable=True))
    _hash_plain_files()


def _hash_plain_files() -> None:
    connection = op.get_bind()
    folder = Path(current_app.extensions["settings"].pictures_dir)
    images = sa.table(
        "images", sa.column("id"), sa.column("picture_file"), sa.column("picture_sha256")
    )
    missing, last = 0, 0
    while True:
        rows = connection.execute(
            sa.select(images.c.id, images.c.picture_file)
            .where(images.c.picture_file.is_not(None), images.c.id > last)
            .order_by(images.c.id)
            .limit(500)
        ).all()
        if not rows:
            break
        last = rows[-1].id
        for row in rows:
            try:
                with (folder / row.picture_file[:2] / row.picture_file).open("rb") as file:
                    if file.read(len(ENCRYPTED)) == ENCRYPTED:
                        continue
                    file.seek(0)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                missing += 1
                continue
            connection.execute(
                sa.update(images).where(images.c.id == row.id).values(picture_sha256=digest)
            )
    if missing:
        log.warning("%d stored image files cannot be read and will not be served", missing)


def downgrade() -> None:
    op.drop_column("images", "picture_sha256")
    op.drop_table("file_removals")
    op.drop_table("store")
