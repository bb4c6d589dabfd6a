"""The client through which a flow run speaks to Prefect's API: it asks for nothing that this side knows already.

Before the body of a flow Prefect makes three calls one after another, each of which takes as long as the start of a
module. Of a flow run that the daemon made, two have nothing to tell or to learn, and the third, that it runs, is sent
while the first module starts.
"""

import contextvars
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import FlowRun, OrchestrationResult, State
from prefect.client.schemas.responses import SetStateStatus, StateAcceptDetails
from prefect.context import SyncClientContext
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

log = logging.getLogger("jobd.runner")

_HOLD_SECONDS = 0.5
"""For how long the news that a flow run runs is held back at most."""

T = TypeVar("T")


class FlowRunClient(SyncPrefectClient):
    """The client of one runner; but for the flow run that it has adopted, it is Prefect's own."""

    _adopted: FlowRun | None = None
    _at_work: threading.Event | None = None
    _telling: threading.Thread | None = None

    def adopt(self, flow_run: FlowRun, at_work: threading.Event) -> None:
        """Take a flow run, Pending and made with all that there is to say of it, for known from here on.

        That it runs is told when `at_work` is set, or half a second later.
        """
        self._adopted, self._at_work = flow_run, at_work

    def update_flow_run(self, flow_run_id: UUID, *args: object, **options: object) -> httpx.Response:
        """Tell the server what has changed; nothing when that is its version and policy, which it was made with."""
        if self._knows(flow_run_id) and not args and options.keys() <= {"flow_version", "empirical_policy"}:
            return httpx.Response(httpx.codes.NO_CONTENT)
        return super().update_flow_run(flow_run_id, *args, **options)  # type: ignore[arg-type]

    def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        """Give a flow run, one that is known as it was last told here."""
        if self._adopted is not None and self._knows(flow_run_id):
            return self._adopted.model_copy()
        return super().read_flow_run(flow_run_id)

    def set_flow_run_state(
        self, flow_run_id: "UUID | str", state: State[T], force: bool = False
    ) -> OrchestrationResult[T]:
        """Propose a state. That a known flow run runs is sent without waiting for the answer, and before all others.

        Whether it may run is not the server's to say: the job has begun, and a cancel of its run reaches it otherwise.
        """
        if self._telling is not None and self._at_work is not None:
            self._at_work.set()
            self._telling.join()
        if self._adopted is None or not self._knows(flow_run_id):
            return super().set_flow_run_state(flow_run_id, state, force)
        known, self._adopted = self._adopted, self._adopted.model_copy(update=_in_state(state))
        if not (known.state and known.state.is_pending() and state.is_running()):
            return super().set_flow_run_state(flow_run_id, state, force)
        context = contextvars.copy_context()
        arguments = (self._tell, known.id, state)
        self._telling = threading.Thread(target=context.run, args=arguments, name="flow-run-state", daemon=True)
        self._telling.start()
        return OrchestrationResult(state=state, status=SetStateStatus.ACCEPT, details=StateAcceptDetails())

    def _tell(self, flow_run_id: UUID, state: State[Any]) -> None:
        if self._at_work is not None:
            # The call would take processor time from the start of the first module.
            self._at_work.wait(_HOLD_SECONDS)
        try:
            answer = super().set_flow_run_state(flow_run_id, state)
        except Exception as error:  # noqa: BLE001 - whatever the client raises, the record is repaired afterwards
            log.warning("flow_run_state_not_told state=%s error=%r", state.name, error)
            return
        if answer.status is not SetStateStatus.ACCEPT:
            log.warning("flow_run_state_refused state=%s answer=%s", state.name, answer.status.value)

    def _knows(self, flow_run_id: "UUID | str") -> bool:
        return self._adopted is not None and str(self._adopted.id) == str(flow_run_id)


def _in_state(state: State[Any]) -> dict[str, object]:
    return {"state": state, "state_type": state.type, "state_name": state.name, "run_count": int(state.is_running())}


@contextmanager
def sharing_client() -> Iterator[None]:
    """Have every flow run within the block use one client; it opens no connection before its first call."""
    client = FlowRunClient(
        PREFECT_API_URL.value() or "",
        auth_string=PREFECT_API_AUTH_STRING.value(),
        api_key=PREFECT_API_KEY.value(),
    )
    with SyncClientContext.model_construct(client=client):
        yield


def adopt(flow_run: FlowRun, at_work: threading.Event) -> None:
    """Have the shared client take a flow run for known; where there is none, Prefect's own asks as it always does."""
    context = SyncClientContext.get()
    if context is not None and isinstance(context.client, FlowRunClient):
        context.client.adopt(flow_run, at_work)
