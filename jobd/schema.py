"""The tables of the store. A change here needs a migration in jobd/migrations/versions."""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True, comment="the order of acceptance"),
    Column("id", Text, nullable=False, unique=True),
    Column("request_id", Text, unique=True, comment="chosen by the client; null when it chose none"),
    Column("request_digest", Text, nullable=False, comment="sha256 of what was asked for"),
    Column("retry_of", Text, nullable=False, comment="the id of the job that it retries; empty when it is no retry"),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column(
        "owner",
        Text,
        nullable=False,
        server_default=text("''"),
        comment="the identity that submitted it; empty where that is not known",
    ),
    Column("labels", Text, nullable=False, comment="a JSON object"),
    Column("priority", Integer, nullable=False),
    Column("submitted", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("failure", Text, comment="a Failure as JSON"),
    Column("flow_run_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False, comment="of its last event"),
    Column("recoveries", Integer, nullable=False),
    Column("entry_count", Integer, nullable=False),
    Column("ended_entry_count", Integer, nullable=False),
    Column("recorded", Integer, nullable=False, comment="1 when Prefect's record of it is known to be complete"),
    Column("journal_offset", Integer, nullable=False, comment="bytes of its journal that were taken in"),
    # With all that a list can ask for, so that it need not read rows.
    Index("jobs_by_state", "state", "number", "name", "owner", "submitted"),
    Index("jobs_by_name", "name", "number"),
    Index("jobs_unrecorded", "number", sqlite_where=text("recorded = 0")),
    Index("jobs_listed", "number", "state", "name", "owner", "submitted"),
    sqlite_autoincrement=True,
)

# Apart from the job's row: SQLite writes a row anew for whatever changes in it, and a plan may have millions of bytes.
plans = Table(
    "plans",
    metadata,
    Column("job", Integer, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    Column("document", LargeBinary, nullable=False, comment="the job file as it came"),
    Column("plan", Text, nullable=False, comment="a Plan as JSON"),
)

job_labels = Table(
    "job_labels",
    metadata,
    Column("job", Integer, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("jobs_by_label", "key", "value", "job"),
)

entries = Table(
    "entries",
    metadata,
    Column("job", Integer, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True, comment="its place in the job"),
    Column("step", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("module", Text, nullable=False),
    Column("inputs", Text, nullable=False, comment="a JSON array of artifact names"),
    Column("outputs", Text, nullable=False, comment="a JSON array of artifact names"),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("progress", Float),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("failure", Text, comment="a Failure as JSON"),
    Column("cpu_seconds", Float, comment="of its last attempt that ended"),
    Column("max_rss_bytes", Integer, comment="of its last attempt that ended"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("job", Integer, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True, comment="its place in the job"),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("public", Integer, nullable=False),
    Column("step", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("folder", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True, comment="the order over all jobs"),
    Column("job", Integer, ForeignKey("jobs.number", ondelete="CASCADE"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("time", Float, nullable=False),
    Column("event", Text, nullable=False, comment="an event as JSON"),
    UniqueConstraint("job", "sequence"),
    sqlite_autoincrement=True,
)

removals = Table(
    "removals",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True, comment="the order of removal, from 1"),
    Column("position", Integer, nullable=False, unique=True, comment="its place among the events of all jobs"),
    Column("job", Integer, nullable=False, unique=True, comment="the number of the job that is gone"),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", Text, nullable=False, comment="a JSON object"),
    Column("owner", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("sequence", Integer, nullable=False, comment="of its last event"),
    Column("time", Float, nullable=False),
    sqlite_autoincrement=True,
)
