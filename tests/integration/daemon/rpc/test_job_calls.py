"""Submitting, finding, listing and cancelling jobs over the wire."""

import asyncio
from pathlib import Path

import pytest
from jobapi.v1 import (
    job_pb2,
)
from jobapi.v1 import (
    job_service_pb2 as pb,
)

from jobd.states import JobState

pytestmark = pytest.mark.timeout(60)


def test_a_job_is_submitted_and_told_of(serve):
    """A submitted job can be got by its id, the beginning of it and as the latest, and is listed."""

    async def work(client) -> None:
        job = await client.submit(labels={"team": "news"}, priority=7)
        assert (job.state, job.name, job.version, job.priority) == (job_pb2.JOB_STATE_QUEUED, "example", "1.0", 7)
        for text in (job.id, job.id[:5], "@latest"):
            got = (await client.jobs.Get(pb.GetRequest(id=text))).job
            assert (got.id, dict(got.labels), len(got.steps), len(got.artifacts)) == (job.id, {"team": "news"}, 2, 3)
        listed = await client.jobs.List(pb.ListRequest())
        assert [item.id for item in listed.jobs] == [job.id]
        assert not listed.next_page_token

    serve(work)


def test_a_request_id_submits_once(serve):
    """The same request sent again, also many times at once, gives the same job; other content is refused."""

    async def work(client) -> None:
        request = client.request(request_id="r1")
        answers = await asyncio.gather(*(client.jobs.Submit(request) for _ in range(10)))
        assert len({answer.job.id for answer in answers}) == 1
        assert sorted(answer.existed for answer in answers) == [False] + [True] * 9
        other = client.request(request_id="r1", priority=1)
        assert (await client.refused(client.jobs.Submit(other)))[:2] == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        assert len(list(client.office.state.jobs.iterdir())) == 1

    serve(work)


def test_a_bad_submission_leaves_nothing(serve, tmp_path: Path):
    """Whatever is wrong with a submission is told with its code, and nothing of it is stored."""

    async def work(client) -> None:
        path = str(client.office.input)
        both = [pb.JobInput(param_name="input", path=path)]
        for rest, expected in [
            ({"job_yaml": b""}, ("INVALID_ARGUMENT", "INVALID_JOB")),
            ({"job_yaml": b"\xff\x00"}, ("INVALID_ARGUMENT", "INVALID_JOB")),
            ({"job_yaml": client.document.replace(b"copy", b"cpoy")}, ("INVALID_ARGUMENT", "INVALID_JOB")),
            ({"inputs": []}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": both * 2}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"inputs": [pb.JobInput(param_name="input")]}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"inputs": [pb.JobInput(param_name="inptu", path=path)]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": [pb.JobInput(param_name="input", path="given.txt")]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": [pb.JobInput(param_name="input", path="/missing")]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            (
                {"inputs": [pb.JobInput(param_name="input", path="/" + "x" * 300)]},
                ("INVALID_ARGUMENT", "INVALID_INPUT"),
            ),
            ({"inputs": [pb.JobInput(param_name="input", upload_id="../x")]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"request_id": "r" * 129}, ("RESOURCE_EXHAUSTED", "LIMIT_EXCEEDED")),
            ({"priority": 1001}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
        ]:
            assert (await client.refused(client.jobs.Submit(client.request(**rest))))[:2] == expected, rest
        assert list(client.office.state.jobs.iterdir()) == []
        assert not (await client.jobs.List(pb.ListRequest())).jobs

    serve(work)


def test_all_that_is_wrong_fits_on_the_wire(serve):
    """Hundreds of violations, in any script, and very long ids reach the client as what they are."""

    async def work(client) -> None:
        entries = "".join(f"      - module: 完全に間違っている-{number}-{'😀' * 20}\n" for number in range(500))
        document = f"name: many\nsteps:\n  - name: one\n    entries:\n{entries}".encode()
        code, reason, text = await client.refused(client.jobs.Submit(client.request(job_yaml=document, inputs=[])))
        assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_JOB"), text
        answer = await client.jobs.Validate(pb.ValidateRequest(job_yaml=document))
        assert len(answer.violations) >= 500
        for letter in ("x", "é", "😀", "%", "\n"):
            told = await client.refused(client.jobs.Get(pb.GetRequest(id=letter * 5000)))
            assert told[:2] == ("NOT_FOUND", "JOB_NOT_FOUND"), letter

    serve(work)


def test_a_cancel_can_be_repeated(serve):
    """Cancelling a queued job ends it; cancelling it again, or another that is unknown, changes nothing."""

    async def work(client) -> None:
        jobs = [await client.submit() for _ in range(3)]
        first = (await client.jobs.Cancel(pb.CancelRequest(id=jobs[2].id, reason="enough"))).job
        again = (await client.jobs.Cancel(pb.CancelRequest(id=jobs[2].id))).job
        assert (first.state, first.reason) == (job_pb2.JOB_STATE_CANCELLED, "enough")
        assert (again.state, again.last_sequence) == (first.state, first.last_sequence)
        assert (await client.refused(client.jobs.Cancel(pb.CancelRequest(id="zzz"))))[0] == "NOT_FOUND"
        wordy = pb.CancelRequest(id=jobs[1].id, reason="é" * 501)
        told = ("RESOURCE_EXHAUSTED", "LIMIT_EXCEEDED")
        assert (await client.refused(client.jobs.Cancel(wordy)))[:2] == told
        assert not client.office.store.get(jobs[1].id).terminal

    serve(work)


def test_a_list_comes_in_pages(serve):
    """Pages hold every job once, newest first; a token that is none is refused."""

    async def work(client) -> None:
        jobs = [await client.submit() for _ in range(5)]
        seen, token = [], ""
        while True:
            page = await client.jobs.List(pb.ListRequest(page_size=2, page_token=token))
            seen += [job.id for job in page.jobs]
            if not (token := page.next_page_token):
                break
        assert seen == [job.id for job in reversed(jobs)]
        await client.jobs.Cancel(pb.CancelRequest(id=jobs[4].id))
        some = await client.jobs.List(pb.ListRequest(states=[job_pb2.JOB_STATE_CANCELLED]))
        assert [job.id for job in some.jobs] == [jobs[4].id]
        assert (await client.refused(client.jobs.List(pb.ListRequest(states=[99]))))[0] == "INVALID_ARGUMENT"
        assert (await client.refused(client.jobs.List(pb.ListRequest(page_size=-1))))[0] == "INVALID_ARGUMENT"

    serve(work)


@pytest.mark.parametrize(
    "token", ["x", "MTp4", "Mjox", "====", "é", "MTo5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "/w==", "MTot"], ids=ascii
)
def test_a_page_token_that_is_none_is_refused(serve, token: str):
    """A token that List did not give is the client's error, not the daemon's."""

    async def work(client) -> None:
        await client.submit()
        told = await client.refused(client.jobs.List(pb.ListRequest(page_token=token)))
        assert told[:2] == ("INVALID_ARGUMENT", "INVALID_REQUEST")

    serve(work)


def test_a_cancelled_call_changes_nothing_for_others(serve):
    """Clients that hang up in the middle of any call leave a daemon that serves the next one."""

    async def work(client) -> None:
        for _ in range(20):
            calls = [client.jobs.Submit(client.request()), client.jobs.Cancel(pb.CancelRequest(id="@latest"))]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        job = await client.submit()
        cancelled = (await client.jobs.Cancel(pb.CancelRequest(id=job.id))).job
        assert cancelled.state in {job_pb2.JOB_STATE_CANCELLED, job_pb2.JOB_STATE_CANCELLING}
        assert client.office.store.get(job.id).state in {JobState.CANCELLED, JobState.CANCELLING}

    serve(work)
