"""The task runner: Prefect must hear of entries what its own task engine would tell, and no entry get lost."""

import itertools
import json
import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest

SCRIPT = """
    import itertools, json, sys, threading
    from http.server import ThreadingHTTPServer
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun
    from prefect.events.clients import PrefectEventsClient
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, temporary_settings
    from prefect.states import Running

    from jobd import flow, flow_workers, rehearsal, task_runner
    from jobd.messages import FlowRunId
    from jobd.plan import Binding, Plan, PlanEntry, PlanStep
    from jobd.states import EntryState

    VERSION, = sys.argv[1:]
    FLOW = UUID(int=7)
    make, rehearsal.HTTPServer = task_runner.make_task_runner, ThreadingHTTPServer
    rehearsal._Api._flow_run = FlowRun(flow_id=FLOW, name="the film", state=Running())
    flow.make_task_runner = lambda threads: make(threads, VERSION)

    class Client(PrefectEventsClient):
        async def __aenter__(self):
            self._in_context = True
            return self
        async def __aexit__(self, *_):
            pass
        async def _emit(self, event):
            print(json.dumps({"event": json.loads(event.model_dump_json())}))

    for name in ("__aenter__", "__aexit__", "_emit"):
        setattr(PrefectEventsClient, name, getattr(Client, name))

    async def keep(_worker, batch):
        for line in batch:
            print(json.dumps({"line": line}))

    APILogWorker._handle_batch = keep

    def entry(step, name, makes=(), takes=()):
        def bindings(names):
            return tuple(Binding(param_name=name, artifacts=(name,), type="file") for name in names)
        return PlanEntry(step=step, name=name, module="", folder="", entrypoint="",
                         inputs=bindings(takes), outputs=bindings(makes))

    class Run(rehearsal._Run):
        steps = (
            [entry("{one}", "makes", makes=["a", "b"]), entry("{one}", "also ü", makes=["c"])],
            [entry("two", "takes {0}", takes=["a", "b", "c"]), entry("two", "finished", takes=["c"])],
            [entry("three", word) for word in ("failed", "cancelled", "skipped", "raises")],
        )

        def __init__(self):
            super().__init__()
            self.plan = Plan(name="the film", version="1",
                             steps=tuple(PlanStep(name=step[0].step, entries=tuple(step)) for step in self.steps))

        def finished(self, entry):
            return entry.name == "finished"

        def run_entry(self, entry, show):
            show(f"a line of {entry.name}")
            if entry.name == "raises":
                raise ValueError("not thought of")
            state = EntryState(entry.name) if entry.name in list(EntryState) else EntryState.SUCCEEDED
            return state, f"how {entry.name} ended"

    with flow.settings(), rehearsal._pretending() as url, temporary_settings(
        {PREFECT_API_URL: url, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
    ), flow.client():
        flow.run_as_flow(Run(), FlowRunId(id=UUID(int=9), flow_id=FLOW))
        flow_workers.drain(10)
"""
SHIPPED, OURS = "0.0.0", "3.8.8"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.?\d*(Z|\+00:00)")


def tell(version: str) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Run a job as a flow; give the events of each task run in their order, and the lines of the log."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), version],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    runs: dict[str, list[dict[str, Any]]] = {}
    for event in (item["event"] for item in told if "event" in item):
        runs.setdefault(event["resource"]["prefect.resource.id"], []).append(event)
    names = {place: events[-1]["resource"]["prefect.resource.name"] for place, events in runs.items()}
    lines = [(item["line"], f"prefect.task-run.{item['line']['task_run_id']}") for item in told if "line" in item]
    return {names[place]: events for place, events in runs.items()}, [
        f"{line['level']} {names[place]}: {line['message'].splitlines()[0]}" for line, place in lines if place in names
    ]


@pytest.fixture(scope="module")
def both() -> list[Any]:
    """What is told of one job, through Prefect's own task engine and through ours."""
    return [tell(version) for version in (SHIPPED, OURS)]


def essence(events: list[dict[str, Any]], names: dict[str, str]) -> list[Any]:
    """Give what events say, but for what differs from run to run."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in {"dynamic_key", "task_key"}}
        if isinstance(value, list):
            return sorted(map(strip, value), key=json.dumps)
        if isinstance(value, str):
            text = TIME.sub("a time", value)
            return re.sub(r"[0-9a-f-]{36}", lambda found: names.get(found[0], found[0]), text)
        return "seconds" if isinstance(value, float) and value else value

    # Prefect gives a task run its name only after its first event.
    named = [event | {"resource": event["resource"] | {"prefect.resource.name": "?"}} for event in events]
    for event in named:
        event["payload"]["task_run"]["name"] = "?"
        for state in filter(None, (event["payload"]["initial_state"], event["payload"]["validated_state"])):
            for about_values_and_retries in ("untrackable_result", "retriable"):
                state["state_details"].pop(about_values_and_retries, None)
    return [strip(event) for event in named]


def test_prefect_hears_what_its_own_engine_tells(both):
    """Every event of every task run must say the same: states, reasons, what it belongs to, and what lies before it."""
    shipped, ours = (
        {
            name: essence(
                events,
                {event["id"]: f"event {number} of {run}" for run, of in runs.items() for number, event in enumerate(of)}
                | {of[0]["resource"]["prefect.resource.id"].rpartition(".")[2]: run for run, of in runs.items()},
            )
            for name, events in runs.items()
        }
        for runs, _lines in both
    )
    assert len(shipped) == 8
    assert ours.keys() == shipped.keys()
    for name, events in shipped.items():
        assert ours[name] == events, name


def test_its_log_has_the_same_lines(both):
    """What modules say, and how each entry ended, must be found at its task run."""
    (_, shipped), (_, ours) = both
    # Prefect says of a task that gave it a failed state that it failed with that state, and then that it ended in it.
    assert sorted(ours) == sorted(line for line in shipped if "Task run failed with state" not in line)
    assert "20 two/takes {0}: Finished in state Completed('how takes {0} ended')" in ours


def test_states_come_one_after_the_other(both):
    """States of a run must be apart in time, in order, and each event name the one before it."""
    for events in both[1][0].values():
        assert [event["event"].rpartition(".")[2] for event in events[:2]] == ["Pending", "Running"]
        assert len(events) == 3
        for before, after in itertools.pairwise(events):
            assert before["occurred"] < after["occurred"]
            assert after["follows"] == before["id"]


def test_no_step_begins_in_the_record_before_the_one_before_it_has_ended(both):
    """The graph of the dashboard is drawn by these times."""
    runs = both[1][0]
    first, second = ([events for name, events in runs.items() if name.startswith(step)] for step in ("{one}", "two"))
    assert max(events[-1]["occurred"] for events in first) < min(events[0]["occurred"] for events in second)
