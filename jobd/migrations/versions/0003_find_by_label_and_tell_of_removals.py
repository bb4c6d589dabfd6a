"""Find jobs by their labels, list them from an index, tell of removals, and keep what attempts used."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables. Of jobs that were removed before nothing is told: nobody could watch for it."""
    op.create_table(
        "job_labels",
        sa.Column("job", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "key"),
    )
    op.create_index("jobs_by_label", "job_labels", ["key", "value", "job"])
    op.create_table(
        "removals",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False, comment="the order of removal, from 1"),
        sa.Column("position", sa.Integer(), nullable=False, comment="its place among the events of all jobs"),
        sa.Column("job", sa.Integer(), nullable=False, comment="the number of the job that is gone"),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False, comment="a JSON object"),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="of its last event"),
        sa.Column("time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("job"),
        sa.UniqueConstraint("position"),
        sqlite_autoincrement=True,
    )
    op.add_column("entries", sa.Column("cpu_seconds", sa.Float(), comment="of its last attempt that ended"))
    op.add_column("entries", sa.Column("max_rss_bytes", sa.Integer(), comment="of its last attempt that ended"))
    op.drop_index("jobs_by_state", "jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "number", "name", "owner", "submitted"])
    op.create_index("jobs_listed", "jobs", ["number", "state", "name", "owner", "submitted"])
    _fill_labels()


def _fill_labels() -> None:
    connection = op.get_bind()
    found = connection.execute(sa.text("SELECT number, labels FROM jobs WHERE labels <> '{}'")).all()
    values = [
        {"job": number, "key": key, "value": value}
        for number, labels in found
        for key, value in json.loads(labels).items()
    ]
    if values:
        connection.execute(sa.text("INSERT INTO job_labels (job, key, value) VALUES (:job, :key, :value)"), values)
