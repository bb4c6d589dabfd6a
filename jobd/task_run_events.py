"""What Prefect is told of a task run, as the text of the events that its own task engine sends for each state.

Prefect's engine validates some ten models for an event and copies settings and contexts along; that was a third of all
that a runner computes for an entry. What arrives is the same: a test runs a job through both and compares.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

_MOST_TEXT = 100_000
"""Characters of a message that Prefect keeps, and takes."""
_MOST_INPUTS = 5_000
"""Task runs that one can be drawn behind; the text of many more would be larger than an event may be."""
_TICK = timedelta(microseconds=1)

_POLICY = {"max_retries": 0, "retry_delay_seconds": 0.0, "retries": 0, "retry_delay": 0}
"""Prefect retries nothing: an entry's attempts are all within its one task run."""


@dataclass(frozen=True, slots=True)
class StateEvent:
    """One event, with all that the queue and the client of Prefect's events ask of one."""

    id: UUID
    event: str
    text: str

    def model_dump_json(self) -> str:
        """Give it as it is sent."""
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunName:
    """The flow run that task runs belong to, as events name it."""

    id: UUID
    name: str
    flow_id: UUID
    flow_name: str
    tags: Sequence[str]
    run_count: int

    def related(self) -> list[dict[str, str]]:
        """Give what every event of its task runs says that it belongs to."""
        return [
            _resource(f"flow-run.{self.id}", "flow-run", self.name),
            _resource(f"flow.{self.flow_id}", "flow", self.flow_name),
            *(_resource(f"tag.{tag}", "tag") for tag in sorted(set(self.tags))),
        ]


@dataclass(frozen=True, slots=True)
class _State:
    type: str
    name: str
    message: str
    event_id: UUID
    time: datetime

    def told(self) -> dict[str, object]:
        return {"type": self.type, "name": self.name, "message": self.message, "state_details": {}}


class TaskRunEvents:
    """Writes the events of one task run, state after state."""

    def __init__(
        self, *, run_id: UUID, name: str, task_key: str, flow_run: FlowRunName, inputs: dict[str, list[UUID]]
    ) -> None:
        """Begin with a task run that nobody has heard of; `inputs` are the task runs behind each of its parameters."""
        self._id = run_id
        self._flow_run = flow_run
        self._related = flow_run.related()
        self._last: _State | None = None
        self._seconds = 0.0
        self._run: dict[str, object] = {
            "name": name,
            "task_key": task_key,
            "dynamic_key": str(uuid4()),
            "empirical_policy": _POLICY,
            "tags": [],
            "labels": {},
            "task_inputs": {
                parameter: [{"input_type": "task_run", "id": str(run)} for run in runs[:_MOST_INPUTS]]
                for parameter, runs in inputs.items()
            },
            "run_count": 0,
            "flow_run_run_count": 0,
        }

    def enter(self, state_id: UUID, kind: str, name: str, message: str = "", *, final: bool = False) -> StateEvent:
        """Give the event that says that it has come into a state, now, and bears the state's id."""
        now = datetime.now(UTC)
        if (last := self._last) is not None:
            now = max(now, last.time + _TICK)  # Prefect orders states by their times
        state = _State(kind, name, message[:_MOST_TEXT], state_id, now)
        self._note(state, final=final)
        self._last = state
        text = _plain(json.dumps(self._content(last, state), ensure_ascii=False))
        return StateEvent(state_id, f"prefect.task-run.{name}", text)

    def _note(self, state: _State, *, final: bool) -> None:
        time = state.time.isoformat()
        if self._last is None:
            self._run["expected_start_time"] = time
        elif self._last.type == "RUNNING":
            self._seconds += (state.time - self._last.time).total_seconds()
        if state.type == "RUNNING":
            self._run |= {"run_count": 1, "flow_run_run_count": self._flow_run.run_count, "start_time": time}
        if final:
            self._run["end_time"] = time
        self._run["total_run_time"] = self._seconds

    def _content(self, last: _State | None, state: _State) -> dict[str, object]:
        time = state.time.isoformat()
        return {
            "occurred": time,
            "event": f"prefect.task-run.{state.name}",
            "resource": {
                "prefect.resource.id": f"prefect.task-run.{self._id}",
                "prefect.resource.name": self._run["name"],
                "prefect.run-count": str(self._run["run_count"]),
                "prefect.state-message": state.message,
                "prefect.state-name": state.name,
                "prefect.state-timestamp": time,
                "prefect.state-type": state.type,
                "prefect.orchestration": "client",
            },
            "related": self._related,
            "payload": {
                "intended": {"from": last.type if last else None, "to": state.type},
                "initial_state": last.told() if last else None,
                "validated_state": state.told() | {"data": None},
                "task_run": self._run,
            },
            "id": str(state.event_id),
            "follows": str(last.event_id) if last else None,
        }


def _resource(place: str, role: str, name: str | None = None) -> dict[str, str]:
    named = {} if name is None else {"prefect.resource.name": name}
    return {"prefect.resource.id": f"prefect.{place}", "prefect.resource.role": role} | named


def _plain(text: str) -> str:
    """Replace what cannot be written as UTF-8, which Prefect's server would refuse the whole event for."""
    return text.encode(errors="replace").decode()
