"""Keep what a job was made of apart from its row, which every event writes anew with all that it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the columns. They are dropped by SQLite itself: a table made anew would lose the rows that refer to it."""
    op.create_table(
        "plans",
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False, comment="the job file as it came"),
        sa.Column("plan", sa.Text(), nullable=False, comment="a Plan as JSON"),
        sa.ForeignKeyConstraint(["job"], ["jobs.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job"),
    )
    op.execute("INSERT INTO plans (job, document, plan) SELECT number, document, plan FROM jobs")
    op.execute("ALTER TABLE jobs DROP COLUMN document")
    op.execute("ALTER TABLE jobs DROP COLUMN plan")
