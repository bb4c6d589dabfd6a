"""How the daemon makes flow runs: one at a time, again when Prefect's server refuses, and right whoever else fails."""

import asyncio
import uuid
from typing import Any

import pytest

from jobd import flow_runs
from jobd.errors import PrefectApiError
from jobd.flow_runs import FlowRuns
from jobd.jobs import Job


class Api:
    """A server that refuses as often as it is told, and remembers how many calls it was ever in at once."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.flows_made, self.keys = 0, list[str]()
        self.at_once = self.most_at_once = 0

    async def make_flow(self, _name: str) -> uuid.UUID:
        self.flows_made += 1
        return await self._answer()

    async def make_flow_run(self, _flow_id: uuid.UUID, *, key: str, **_rest: Any) -> uuid.UUID:
        self.keys.append(key)
        return await self._answer()

    async def _answer(self) -> uuid.UUID:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.refusals:
            self.refusals -= 1
            raise PrefectApiError("503")
        return uuid.uuid4()


def job(number: int) -> Job:
    """Give a job; all have one name."""
    return Job(id=f"job{number}", name="example", version="1")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(flow_runs, "_PAUSES_SECONDS", (0.0, 0.0, 0.0))


async def _make(api: Any, count: int) -> list[Any]:
    made = FlowRuns(api)
    return await asyncio.gather(*(made.make(job(number), key="k") for number in range(count)), return_exceptions=True)


def test_jobs_of_one_name_share_a_flow_and_are_made_in_turn():
    """Of twenty at once there is never more than one call under way, and one makes the flow for all."""
    api = Api()
    made = asyncio.run(_make(api, 20))
    assert len({run.id for run in made}) == 20
    assert (api.flows_made, api.most_at_once) == (1, 1)


def test_a_server_that_refuses_for_a_while_is_asked_again():
    """However the refusals fall on the calls of many jobs, each job has its run in the end, by one key."""
    for refusals in range(12):
        api = Api(refusals)
        made = asyncio.run(_make(api, 6))
        assert [run for run in made if isinstance(run, BaseException)] == []
        assert set(api.keys) == {f"jobd:job{number}:k" for number in range(6)}


def test_a_server_that_only_refuses_is_given_up():
    """After the retries each job is told, by the one error that those who ask expect."""
    made = asyncio.run(_make(Api(1000), 3))
    assert [type(each) for each in made] == [PrefectApiError] * 3
