"""I12: Prefect's record of every ended job is made equal to ours within a bounded time."""

import base64
import json
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from jobapi.v1 import job_service_pb2 as pb
from stored import load
from world import World

from jobd.states import EntryState, JobState

SECONDS = 240.0
_FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
_JOB = {JobState.SUCCEEDED: "COMPLETED", JobState.FAILED: "FAILED", JobState.CANCELLED: "CANCELLED"}
_ENTRY = {EntryState.SUCCEEDED: "COMPLETED", EntryState.FAILED: "FAILED", EntryState.CANCELLED: "CANCELLED"}


def check_record(world: World, job_ids: set[str]) -> Iterator[str]:
    """Wait until all is recorded, then compare; must be asked while the daemon lives."""
    deadline = time.monotonic() + SECONDS
    while (open_ := unrecorded(world)) and time.monotonic() < deadline:
        time.sleep(1)
    if open_:
        yield f"I12 {len(open_)} jobs are not recorded {SECONDS:g} s after the last schedule: {open_[:5]}"
    info = world.call(world.server.GetServerInfo, pb.GetServerInfoRequest())
    for job_id in sorted(job_ids - set(open_)):
        yield from (f"I12 {text} [job {job_id}]" for text in _compare(world, f"{info.dashboard_url}/api", job_id))


def unrecorded(world: World) -> list[str]:
    """Give the jobs whose record at Prefect is not known to be complete, the oldest first."""
    connection = sqlite3.connect(f"file:{world.state / 'jobd.db'}?mode=ro", uri=True, timeout=30)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM jobs WHERE recorded = 0 ORDER BY number")]
    finally:
        connection.close()


def _compare(world: World, url: str, job_id: str) -> Iterator[str]:
    stored = load(world.state, job_id)
    if stored is None:
        return
    job = stored.job
    runs = _ask(world, url + "/flow_runs/filter", {"flow_runs": {"tags": {"all_": [f"job:{job_id}"]}}})
    states = {run["id"]: run["state_type"] for run in runs}
    if any(state not in _FINAL for state in states.values()):
        yield f"a flow run is not ended: {states}"
    if states.get(job.flow_run_id) != _JOB[job.state]:
        yield f"the job is {job.state}, its flow run {job.flow_run_id} of {states}"
    others = {run_id: state for run_id, state in states.items() if run_id != job.flow_run_id}
    if any(state != "CRASHED" for state in others.values()):
        yield f"abandoned flow runs are {others}"
    tasks = _ask(world, url + "/task_runs/filter", {"flow_runs": {"id": {"any_": [job.flow_run_id]}}})
    by_name = {task["name"]: task["state_type"] for task in tasks}
    for entry in job.entries:
        name = f"{entry.step}/{entry.name}"
        if entry.attempt and entry.state in _ENTRY and by_name.get(name) != _ENTRY[entry.state]:
            yield f"{name} is {entry.state}, and {by_name.get(name)} at Prefect"


def _ask(world: World, url: str, content: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"} | _login(world)
    request = urllib.request.Request(url, json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _login(world: World) -> dict[str, str]:
    """Give what a request to the world's own Prefect server must carry."""
    path = world.state / "prefect/auth"
    if world.proxy or not path.exists():
        return {}
    return {"Authorization": "Basic " + base64.b64encode(path.read_bytes().strip()).decode()}
