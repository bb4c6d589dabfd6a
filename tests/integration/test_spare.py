"""The runner that a nursery holds ready: it takes the next job, and no job is the worse for its death."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import pytest

from jobd import cradle, journal
from jobd.containment import NOTHING_ASKED
from jobd.layout import JobDirectory, StateDirectory
from jobd.messages import FROM_NURSERY, Assignment, Ended, FlowRunId, FlowRunMade, Fork, Forked, Ready

pytestmark = pytest.mark.timeout(180)

JOB_ID, LAUNCH = "abc123", "launch"
PATIENCE = 60.0


class Nursery:
    """A nursery, and the daemon's end of the line to it."""

    def __init__(self, state: StateDirectory, port: int) -> None:
        self._line, theirs = socket.socketpair()
        self._line.settimeout(PATIENCE)
        self._words = self._line.makefile("rb")
        with theirs, (state.root / "nursery.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobd.nursery", str(state.root)],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                env=os.environ
                | {
                    "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
                    "PREFECT_HOME": str(state.prefect),
                    "PREFECT_CLIENT_MAX_RETRIES": "0",
                    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
                    "DO_NOT_TRACK": "1",
                },
                start_new_session=True,
            )
        assert isinstance(self.hear(), Ready)

    def hear(self) -> Ready | Forked | Ended:
        """Give its next word."""
        return FROM_NURSERY.validate_json(self._words.readline())

    def say(self, message: Fork | FlowRunMade) -> None:
        """Tell it something."""
        self._line.sendall(message.line())

    def spare(self) -> int:
        """Wait until it holds one ready, and give that."""
        deadline = monotonic() + PATIENCE
        while monotonic() < deadline:
            for pid in children(self.process.pid):
                if name(pid) == "jobd-spare":
                    return pid
            sleep(0.02)
        raise AssertionError("there is no spare runner")

    def hang_up(self) -> None:
        """Close the line, as a daemon that ends."""
        self._words.close()
        self._line.close()

    def close(self) -> None:
        """End it."""
        self.hang_up()
        self.process.kill()
        self.process.wait(PATIENCE)


def children(pid: int) -> list[int]:
    """List the children of a process; none when it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def name(pid: int) -> str:
    """Give what a process is shown as; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def await_end(pid_fd: int) -> None:
    """Wait until the process of this descriptor has ended."""
    assert select.select([pid_fd], [], [], PATIENCE)[0] == [pid_fd]
    os.close(pid_fd)


def kinds(directory: JobDirectory) -> list[str]:
    """Name the events that the job's runners have written."""
    return [happened.event.kind for happened in journal.read_all(directory.journal).occurrences]


@pytest.fixture
def nursery(state: StateDirectory) -> Iterator[Nursery]:
    """Give a nursery that can fork, with a server that lets everybody in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Nursery(state, server.getsockname()[1])
        yield made
        made.close()


@pytest.fixture
def job(modules: Any, directory: JobDirectory, daemon: Any) -> Fork:
    """Write a job that needs no Prefect, and give the wish for its runner; its capacity can be had."""
    daemon.open()
    plan = modules.plan(modules.entry("print('done')"))
    directory.plan.write_text(plan.model_dump_json())
    assignment = Assignment(job_id=JOB_ID, launch=LAUNCH, cpus=2.0, containment=NOTHING_ASKED)
    directory.assignment.write_text(assignment.model_dump_json())
    return Fork(job_id=JOB_ID, launch=LAUNCH, plain=True)


def test_a_spare_one_takes_the_job_and_another_follows(nursery: Nursery, job: Fork, directory: JobDirectory):
    """The runner of a job is the process that stood ready, and when it has ended another stands there."""
    spare = nursery.spare()
    nursery.say(job)
    assert nursery.hear() == Forked(job_id=JOB_ID, pid=spare)
    assert nursery.hear() == Ended(job_id=JOB_ID, pid=spare, status=0)
    assert kinds(directory)[-1] == "job_succeeded"
    assert nursery.spare() != spare


def test_one_that_is_killed_while_it_waits_is_replaced(nursery: Nursery, job: Fork, directory: JobDirectory):
    """Nobody is told of its death, and the next job runs."""
    spare = nursery.spare()
    fd = os.pidfd_open(spare)
    os.kill(spare, signal.SIGKILL)
    await_end(fd)
    nursery.say(job)
    forked = nursery.hear()
    assert isinstance(forked, Forked)
    assert forked.pid != spare
    assert nursery.hear() == Ended(job_id=JOB_ID, pid=forked.pid, status=0)
    assert kinds(directory)[-1] == "job_succeeded"


def test_one_that_is_killed_with_its_job_in_hand_is_told_of(nursery: Nursery, job: Fork, directory: JobDirectory):
    """Its job is said to have lost its runner, and a second wish for it is fulfilled."""
    spare = nursery.spare()
    os.kill(spare, signal.SIGSTOP)
    nursery.say(job)
    assert nursery.hear() == Forked(job_id=JOB_ID, pid=spare)
    os.kill(spare, signal.SIGKILL)
    assert nursery.hear() == Ended(job_id=JOB_ID, pid=spare, status=-signal.SIGKILL)
    assert kinds(directory) == []
    nursery.say(job)
    forked = nursery.hear()
    assert isinstance(forked, Forked)
    assert nursery.hear() == Ended(job_id=JOB_ID, pid=forked.pid, status=0)
    assert kinds(directory)[-1] == "job_succeeded"


@pytest.mark.parametrize("killed", [False, True])
def test_it_ends_with_its_nursery(nursery: Nursery, *, killed: bool):
    """None is left when the daemon hangs up, nor when the nursery is killed."""
    fd = os.pidfd_open(nursery.spare())
    if killed:
        nursery.process.kill()
    else:
        nursery.hang_up()
    await_end(fd)
    nursery.process.wait(PATIENCE)


def test_without_a_server_there_is_no_spare_one(state: StateDirectory, job: Fork, directory: JobDirectory):
    """Where nobody listens none stays, and a job that comes just then runs all the same."""
    nursery = Nursery(state, port=9)
    try:
        nursery.say(job)
        forked = nursery.hear()
        assert isinstance(forked, Forked)
        assert nursery.hear() == Ended(job_id=JOB_ID, pid=forked.pid, status=0)
        assert kinds(directory)[-1] == "job_succeeded"
    finally:
        nursery.close()


@pytest.fixture
def line() -> Iterator[tuple[cradle._Line, socket.socket, int, int]]:
    """Give a runner's end of the line, the nursery's, and both ends of the pipe that tells a job to stop."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stop, wake = os.pipe()
    with ours, theirs:
        yield cradle._Line(ours), theirs, stop, wake
    os.close(stop)
    os.close(wake)


def test_a_flow_run_is_waited_for(line):
    """What the nursery tells of it is what the runner takes; that none was made is an answer as well."""
    words, nursery, stop, _wake = line
    made = FlowRunId(id=UUID(int=1), flow_id=UUID(int=2))
    for flow_run in (made, None):
        nursery.send(FlowRunMade(job_id=JOB_ID, launch=LAUNCH, flow_run=flow_run).line())
        assert words.flow_run(stop) == flow_run


def test_a_flow_run_is_not_waited_for_without_a_nursery(line):
    """One that dies before it has told of the flow run leaves the job to its runner."""
    words, nursery, stop, _wake = line
    nursery.close()
    assert words.flow_run(stop) is None


def test_a_flow_run_is_not_waited_for_when_the_job_is_to_stop(line):
    """A cancel reaches a runner that waits for its flow run."""
    words, _nursery, stop, wake = line
    os.write(wake, b"x")
    assert words.flow_run(stop) is None


def test_what_was_said_before_it_gave_up_is_heard(line):
    """A spare one that goes, but was given a job just then, takes it; what is said later comes back as unsaid."""
    words, nursery, _stop, _wake = line
    wish = Fork(job_id=JOB_ID, launch=LAUNCH)
    nursery.send(wish.line())
    words._line.shutdown(socket.SHUT_RD)
    with pytest.raises(OSError, match="Broken pipe"):
        nursery.send(wish.line())
    assert words.wish() == wish
    assert words.wish() is None
