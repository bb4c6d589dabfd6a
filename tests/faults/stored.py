"""A job as the store has it, read by other means than the store's own questions."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobd import rows
from jobd.events import Record
from jobd.jobs import Job
from jobd.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A job as the store has it."""

    job: Job
    plan: Plan
    records: tuple[Record, ...]


def load(state: Path, job_id: str) -> Stored | None:
    """Read a job by other means than the store's own questions."""
    connection = sqlite3.connect(f"file:{state / 'jobd.db'}?mode=ro", uri=True, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        found = connection.execute("SELECT * FROM jobs JOIN plans ON job = number WHERE id = ?", (job_id,)).fetchone()
        if found is None:
            return None
        entries, artifacts = (
            _all(connection, f"SELECT * FROM {table} WHERE job = ? ORDER BY place", found["number"])
            for table in ("entries", "artifacts")
        )
        told = _all(connection, "SELECT * FROM events WHERE job = ? ORDER BY position", found["number"])
    finally:
        connection.close()
    job = rows.to_job(dict(found), entries, artifacts)  # type: ignore[arg-type]
    plan = Plan.model_validate_json(found["plan"])
    return Stored(job=job, plan=plan, records=tuple(map(rows.to_record, told)))  # type: ignore[arg-type]


def _all(connection: sqlite3.Connection, query: str, number: int) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query, (number,)).fetchall()]
