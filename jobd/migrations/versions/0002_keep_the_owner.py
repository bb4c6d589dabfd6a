"""Keep who submitted a job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables. Jobs of before have no owner, so that only an admin may end or remove them."""
    op.add_column(
        "jobs",
        sa.Column(
            "owner",
            sa.Text(),
            nullable=False,
            server_default=sa.text("''"),
            comment="the identity that submitted it; empty where that is not known",
        ),
    )
