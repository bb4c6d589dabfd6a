"""A state directory of the first version: its jobs are all there after an upgrade, and go on."""

import json
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from jobd import database, events
from jobd.events import Occurrence
from jobd.history import replay
from jobd.job_filter import JobFilter, LabelSelector
from jobd.jobs import new_job
from jobd.plan import Binding, Plan, PlanArtifact, PlanEntry, PlanStep
from jobd.states import JobState
from jobd.store import Store

MIGRATIONS = Path(database.__file__).parent / "migrations"

JOB = {
    "request_digest": "d",
    "retry_of": "",
    "document": b"name: example",
    "name": "example",
    "version": "1.0",
    "labels": '{"team": "sound"}',
    "priority": 0,
    "submitted": 1.0,
    "reason": "",
    "flow_run_id": "",
    "sequence": 1,
    "recoveries": 0,
    "entry_count": 1,
    "ended_entry_count": 0,
    "recorded": 0,
    "journal_offset": 0,
}
ENTRY = {
    "place": 0, "step": "one", "name": "copy", "module": "copy", "inputs": "[]", "outputs": '["out.txt"]',
    "state": "pending", "attempt": 0, "status": "", "reason": "",
}  # fmt: skip
ARTIFACT = {
    "place": 0, "name": "out.txt", "type": "text", "public": 1, "step": "one", "entry": "copy", "state": "pending",
    "size_bytes": 0, "folder": 0, "reason": "",
}  # fmt: skip


@pytest.fixture
def plan() -> Plan:
    """Give the plan of the jobs: one entry that makes one file."""
    entry = PlanEntry(
        step="one", name="copy", module="copy", folder="/m", entrypoint="main.py",
        outputs=(Binding(param_name="output", artifacts=("out.txt",)),),
    )  # fmt: skip
    artifact = PlanArtifact(name="out.txt", type="text", public=True, step="one", entry="copy", consumers=())
    steps = (PlanStep(name="one", entries=(entry,)),)
    return Plan(name="example", version="1.0", labels={"team": "sound"}, steps=steps, artifacts=(artifact,))


@pytest.fixture
def old(tmp_path: Path, plan: Plan) -> Path:
    """Give a store as the first version left it, with a job that has failed and one that waits."""
    path = tmp_path / "jobd.db"
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    failed = {"kind": "job_failed", "failure": {"kind": "system", "message": "it went wrong"}}
    with sqlite3.connect(path) as writer:
        for number, (job_id, state) in enumerate((("ended", "failed"), ("waits", "queued")), 1):
            told = [{"kind": "job_submitted"}, *([failed] if state == "failed" else [])]
            changes = {"id": job_id, "state": state, "plan": plan.model_dump_json(), "sequence": len(told)}
            if state == "failed":
                changes |= {"ended": 2.0, "failure": json.dumps(failed["failure"])}
            insert(writer, "jobs", JOB | {"number": number} | changes)
            insert(writer, "entries", ENTRY | {"job": number})
            insert(writer, "artifacts", ARTIFACT | {"job": number})
            for sequence, event in enumerate(told, 1):
                values = {"job": number, "sequence": sequence, "time": float(sequence), "event": json.dumps(event)}
                insert(writer, "events", values)
    writer.close()
    return path


def insert(writer: sqlite3.Connection, table: str, values: dict[str, object]) -> None:
    """Write a row as the first version did."""
    marks = ", ".join("?" for _ in values)
    writer.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def test_jobs_of_before_are_all_there(old: Path, plan: Plan):
    """Each is as it was, belongs to nobody, and is what its events say; opened again it is the same."""
    for _ in range(2):
        store = Store(old)
        try:
            assert [job.id for job in store.live()] == ["waits"]
            for job_id, state in (("ended", JobState.FAILED), ("waits", JobState.QUEUED)):
                job = store.get(job_id)
                assert (job.state, job.owner, dict(job.labels)) == (state, "", {"team": "sound"})
                assert store.owner(job_id) == ""
                history = replay(new_job(job_id, plan, submitted=1.0), store.events_after(job_id, 0))
                assert (history.state, history.owner, history.sequence) == (job.state, "", job.sequence)
        finally:
            store.close()


def test_jobs_of_before_go_on(old: Path):
    """A job that waited during the upgrade takes its next events, and one that has ended can be removed."""
    store = Store(old)
    try:
        started = Occurrence(time=3.0, event=events.JobStarted(flow_run_id="run-1"))
        assert store.decide("waits", lambda _job: [started]).result(30).state is JobState.RUNNING
        store.delete("ended").result(30)
        assert not store.exists("ended")
    finally:
        store.close()


def test_jobs_of_before_are_found_by_label_and_told(old: Path):
    """Their labels can be asked for, and their events, and a removal, stand in the one order over all jobs."""
    store = Store(old)
    try:
        news = JobFilter(labels=(LabelSelector(key="team", value="sound"),))
        assert [job.id for job in store.page(size=9, before=None, wanted=news).jobs] == ["waits", "ended"]
        store.delete("ended").result(30)
        assert [job.id for job in store.page(size=9, before=None, wanted=news).jobs] == ["waits"]
        assert [(change.job.id, change.position) for change in store.changes_after(0)] == [("waits", 3), ("ended", 4)]
    finally:
        store.close()
