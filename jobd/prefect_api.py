"""The few calls that the daemon makes to a Prefect server's REST API."""

import ssl
import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from jobd.errors import PrefectApiError
from jobd.prefect_names import JOB_TAG, TAG

_PAGE = 200
"""The most rows that Prefect gives in one answer."""
Parsed = TypeVar("Parsed")


class StateType(StrEnum):
    """The kinds of state that Prefect knows; a state's name may be any text."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"


class Verdict(StrEnum):
    """What the server did with a proposed state."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    ABORT = "ABORT"
    WAIT = "WAIT"


class FlowRun(BaseModel):
    """A flow run, as far as the daemon cares."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: uuid.UUID
    name: str
    tags: tuple[str, ...] = ()
    state_type: StateType | None = None
    state_name: str | None = None

    @property
    def job_id(self) -> str | None:
        """Give the job that the run is of; None for a run that jobd did not start."""
        return next((tag.removeprefix(JOB_TAG) for tag in self.tags if tag.startswith(JOB_TAG)), None)


class TaskRun(BaseModel):
    """A task run, as far as the daemon cares."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: uuid.UUID
    name: str
    state_type: StateType | None = None
    state_name: str | None = None


class _Orchestrated(BaseModel):
    """The server's answer to a proposed state."""

    status: Verdict


class _Made(BaseModel):
    """What was made."""

    id: uuid.UUID


_MADE = TypeAdapter(_Made)
_FLOW_RUNS = TypeAdapter(tuple[FlowRun, ...])
_TASK_RUNS = TypeAdapter(tuple[TaskRun, ...])


class PrefectApi:
    """A client of one server. Every method raises PrefectApiError when the server is away, slow or refuses."""

    def __init__(self, api_url: str, *, auth: str = "", key: str = "", timeout: float = 10.0) -> None:
        """Take the API's address, and `user:password` or an API key where the server wants one.

        The timeout in seconds is that of one call.
        """
        self.api_url = api_url.rstrip("/")
        user, _, password = auth.partition(":")
        plain = self.api_url.startswith("http:")
        self._csrf = {"Prefect-Csrf-Client": str(uuid.uuid4())}
        self._http = httpx.AsyncClient(
            auth=httpx.BasicAuth(user, password) if auth else None,
            headers={"Authorization": f"Bearer {key}"} if key and not auth else {},
            timeout=timeout,
            # Loading the certificates takes longer than all calls of a job together.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
            # A proxy of the environment is for the world outside, not for a server of this machine.
            trust_env=not plain,
        )

    async def __aenter__(self) -> Self:
        """Give the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def health(self) -> None:
        """Return when the server answers that it is well, and lets this client in."""
        await self._send("GET", "/health")
        await self._send("GET", "/version")

    async def version(self) -> None:
        """Return when the server answers at all and lets this client in: half of what `health` asks."""
        await self._send("GET", "/version")

    async def cancelling_runs(self) -> tuple[FlowRun, ...]:
        """Find jobd's flow runs that wait to be cancelled, at most 200, the newest first.

        The dashboard's Cancel button forces any unfinished run into this state, and nothing else takes it out of it.
        """
        state: dict[str, JsonValue] = {"type": {"any_": [StateType.CANCELLING]}}
        query: dict[str, JsonValue] = {
            "flow_runs": {"tags": {"all_": [TAG]}, "state": state},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": _PAGE,
        }
        return _parse(_FLOW_RUNS, await self._send("POST", "/flow_runs/filter", query))

    async def flow_run(self, flow_run_id: uuid.UUID) -> FlowRun:
        """Fetch one flow run."""
        return _parse(TypeAdapter(FlowRun), await self._send("GET", f"/flow_runs/{flow_run_id}"))

    async def flow_runs(self, job_id: str) -> tuple[FlowRun, ...]:
        """Find the flow runs of a job, the newest first; more than one when it was run again."""
        query: dict[str, JsonValue] = {
            "flow_runs": {"tags": {"all_": [f"{JOB_TAG}{job_id}"]}},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": _PAGE,
        }
        return _parse(_FLOW_RUNS, await self._send("POST", "/flow_runs/filter", query))

    async def task_runs(self, flow_run_id: uuid.UUID) -> tuple[TaskRun, ...]:
        """Fetch every task run of a flow run, in the order of their ids."""
        found: list[TaskRun] = []
        while True:
            query: dict[str, JsonValue] = {
                "task_runs": {"flow_run_id": {"any_": [str(flow_run_id)]}},
                "sort": "ID_DESC",
                "limit": _PAGE,
                "offset": len(found),
            }
            page = _parse(_TASK_RUNS, await self._send("POST", "/task_runs/filter", query))
            found.extend(page)
            if len(page) < _PAGE:
                return tuple(sorted(found, key=lambda run: run.id))

    async def make_flow(self, name: str) -> uuid.UUID:
        """Find or make a flow by its name."""
        return _parse(_MADE, await self._send("POST", "/flows/", {"name": name})).id

    async def make_flow_run(
        self,
        flow_id: uuid.UUID,
        *,
        name: str,
        version: str,
        tags: Sequence[str],
        key: str,
        parameters: Mapping[str, str] | None = None,
    ) -> uuid.UUID:
        """Make a flow run; a repeated call with the same `key` gives the run that the first one made."""
        content: dict[str, JsonValue] = {
            "flow_id": str(flow_id),
            "flow_version": version,
            "name": name,
            "tags": list(tags),
            "idempotency_key": key,
            "parameters": dict(parameters or {}),
            # Said by the runner's client otherwise, in a call of its own: a flow of ours is run once.
            "empirical_policy": {"retries": 0, "retry_delay": 0},
            "state": {"type": StateType.PENDING},
        }
        return _parse(_MADE, await self._send("POST", "/flow_runs/", content)).id

    async def make_task_run(self, flow_run_id: uuid.UUID, *, name: str, step: str) -> uuid.UUID:
        """Make a task run; a repeated call with the same name gives the run that the first one made."""
        content: dict[str, JsonValue] = {
            "flow_run_id": str(flow_run_id),
            "name": name,
            "task_key": f"jobd-{step}",
            "dynamic_key": f"jobd-{name}",
            "state": {"type": StateType.PENDING},
        }
        return _parse(_MADE, await self._send("POST", "/task_runs/", content)).id

    async def set_flow_run_state(
        self, flow_run_id: uuid.UUID, state: StateType, *, name: str = "", message: str = "", force: bool = False
    ) -> Verdict:
        """Propose a state for a flow run and tell what the server made of it; forced, its rules are not asked."""
        return await self._set_state(f"/flow_runs/{flow_run_id}", state, name=name, message=message, force=force)

    async def set_task_run_state(
        self, task_run_id: uuid.UUID, state: StateType, *, name: str = "", message: str = "", force: bool = False
    ) -> Verdict:
        """Propose a state for a task run and tell what the server made of it; forced, its rules are not asked."""
        return await self._set_state(f"/task_runs/{task_run_id}", state, name=name, message=message, force=force)

    async def _set_state(self, path: str, state: StateType, *, name: str, message: str, force: bool) -> Verdict:
        """Propose a state."""
        proposed: dict[str, JsonValue] = {"type": state, "message": message, "name": name or state.title()}
        content: dict[str, JsonValue] = {"state": proposed, "force": force}
        answer = await self._send("POST", f"{path}/set_state", content)
        return _parse(TypeAdapter(_Orchestrated), answer).status

    async def _send(self, method: str, path: str, content: Mapping[str, JsonValue] | None = None) -> bytes:
        """Make one call and give the body of its answer."""
        answer = await self._exchange(method, path, content)
        if answer.status_code == httpx.codes.FORBIDDEN and b"CSRF" in answer.content:
            await self._fetch_csrf_token()
            answer = await self._exchange(method, path, content)
        if answer.is_success:
            return answer.content
        hint = "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY" if answer.status_code in {401, 403} else ""
        detail = answer.text[:200]
        raise PrefectApiError(f"{method} {self.api_url}{path} was answered {answer.status_code}: {detail}", hint=hint)

    async def _exchange(self, method: str, path: str, content: Mapping[str, JsonValue] | None) -> httpx.Response:
        """Make one request."""
        try:
            return await self._http.request(method, self.api_url + path, json=content, headers=self._csrf)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            what = str(error) or type(error).__name__
            raise PrefectApiError(f"{method} {self.api_url}{path} failed: {what}") from error

    async def _fetch_csrf_token(self) -> None:
        """Get the token that a server with CSRF protection wants with every change."""
        client = self._csrf["Prefect-Csrf-Client"]
        answer = await self._exchange("GET", f"/csrf-token?client={client}", None)
        if answer.is_success:
            self._csrf["Prefect-Csrf-Token"] = str(answer.json()["token"])


def _parse(adapter: TypeAdapter[Parsed], answer: bytes) -> Parsed:
    """Read an answer; an unexpected one is an error of the server's."""
    try:
        return adapter.validate_json(answer)
    except ValidationError as error:
        # The whole text names every line of an answer that may have hundreds.
        raise PrefectApiError(f"the answer of Prefect's server is not understood: {str(error)[:500]}") from error
