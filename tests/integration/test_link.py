"""A runner's line to the daemon over a real socket: grants, cancels, and a daemon that goes and comes back."""

import os
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from jobd import procfs
from jobd.link import Link
from jobd.messages import TO_RUNNER, Acquire, Cancel, Granted, Hello, Lease
from jobd.plan import Resources
from jobd.sockets import connect

pytestmark = pytest.mark.timeout(60)

ONE = Resources(cpus=1)
JOB_ID = "abc123"
OWN = procfs.current()
HELLO = Hello(job_id=JOB_ID, pid=OWN.pid, start_ticks=OWN.start_ticks)


@pytest.fixture
def link(state) -> Iterator[Link]:
    """Give a runner's end of the line."""
    made = Link(state.run / "runners.sock", JOB_ID)
    yield made
    made.abandon()
    made.close()


@pytest.fixture
def acquire(link: Link) -> Iterator[Callable[[str], "Future[bool]"]]:
    """Give a function that asks for a cpu in another thread."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda key: pool.submit(link.acquire, key, ONE)
        link.abandon()


def held(daemon) -> set[str]:
    """Name what the daemon counts as leased."""
    return set(daemon.do(lambda: set(daemon.scheduler._jobs[JOB_ID].held)))


def test_what_is_free_is_granted(daemon, link: Link, acquire):
    """With two cpus, two entries get theirs and the third waits until one gives back."""
    daemon.open()
    assert acquire("a").result(10)
    assert acquire("b").result(10)
    third = acquire("c")
    link.release("a")
    assert third.result(10)
    assert held(daemon) == {"b", "c"}


def test_a_wish_made_before_there_is_a_daemon_is_heard(daemon, link: Link, acquire):
    """A runner that starts while no daemon serves gets its capacity from the one that comes."""
    wish = acquire("a")
    daemon.open()
    assert wish.result(10)
    assert held(daemon) == {"a"}


def test_leases_outlive_the_daemon(daemon, link: Link, acquire):
    """A new daemon is told what is held before anything else, counts it, and grants what still waits."""
    daemon.open()
    assert acquire("a").result(10)
    assert acquire("b").result(10)
    waiting = acquire("c")
    daemon.close()
    daemon.open()
    daemon.wait_heard("connected", JOB_ID, times=2)
    assert held(daemon) == {"a", "b"}
    assert not waiting.done()
    link.release("b")
    assert waiting.result(10)
    assert held(daemon) == {"a", "c"}


def test_what_was_given_back_without_a_daemon_is_free(daemon, link: Link, acquire):
    """A lease that was released while no daemon served is not announced to the next one."""
    daemon.open()
    assert acquire("a").result(10)
    daemon.close()
    link.release("a")
    daemon.open()
    daemon.wait_heard("connected", JOB_ID, times=2)
    assert held(daemon) == set()


def say(line: socket.socket, *messages: Hello | Acquire) -> None:
    """Say something as a runner does."""
    line.sendall(b"".join(message.line() for message in messages))


def hear(line: socket.socket) -> Granted | Cancel:
    """Hear the next word of the daemon."""
    line.settimeout(3)
    with line.makefile("rb") as lines:
        return TO_RUNNER.validate_json(lines.readline())


WISH = Acquire(lease=Lease(key="a", resources=ONE))


def test_a_grant_that_was_lost_with_the_line_is_made_again(daemon, state):
    """A runner whose line broke before it heard of its grant gets it on its next line to the same daemon."""
    daemon.open()
    with connect(state.run / "runners.sock", socket.SOCK_STREAM) as line:
        say(line, HELLO, WISH)
        daemon.wait_heard("granted", "a")
    daemon.wait_heard("hung up", JOB_ID)
    with connect(state.run / "runners.sock", socket.SOCK_STREAM) as line:
        say(line, HELLO, WISH)
        assert hear(line) == Granted(key="a")


def test_a_lease_given_back_on_a_broken_line_is_free(daemon, state):
    """What a runner does not hold when it calls again is free, although the same daemon had granted it."""
    daemon.open()
    with connect(state.run / "runners.sock", socket.SOCK_STREAM) as line:
        say(line, HELLO, WISH)
        daemon.wait_heard("granted", "a")
    daemon.wait_heard("hung up", JOB_ID)
    with connect(state.run / "runners.sock", socket.SOCK_STREAM) as line:
        say(line, HELLO)
        daemon.wait_heard("connected", JOB_ID, times=2)
        assert held(daemon) == set()


def test_a_cancel_reaches_everything(daemon, link: Link, acquire):
    """A cancel gives its reason, ends waiting for capacity, makes the descriptor readable, and comes once."""
    daemon.open()
    assert acquire("a").result(10)
    assert acquire("b").result(10)
    waiting = acquire("c")
    daemon.do(daemon.lines.cancel, JOB_ID, "asked")
    daemon.do(daemon.lines.cancel, JOB_ID, "asked again")
    assert not waiting.result(10)
    assert select.select([link.wake_fd], [], [], 10)[0] == [link.wake_fd]
    assert link.wait_cancelled(10)
    assert link.cancel_reason == "asked"
    assert not acquire("d").result(10)


def test_a_cancel_before_the_line_is_told_at_its_beginning(daemon, link: Link, acquire):
    """A daemon that greets a runner with a cancel is heard by a runner that already waits."""
    wish = acquire("a")
    daemon.open(known=False)
    daemon.wait_heard("connected", JOB_ID)
    assert not wish.done()
    daemon.do(daemon.lines.cancel, JOB_ID, "asked long ago")
    assert not wish.result(10)
    assert os.read(link.wake_fd, 1) == b""


def test_a_cancel_survives_the_daemon(daemon, link: Link, acquire):
    """What was cancelled stays cancelled when the daemon goes and comes."""
    daemon.open()
    daemon.wait_heard("connected", JOB_ID)
    daemon.do(daemon.lines.cancel, JOB_ID, "asked")
    assert link.wait_cancelled(10)
    daemon.close()
    daemon.open()
    daemon.wait_heard("connected", JOB_ID, times=2)
    assert (link.cancel_reason, acquire("a").result(10)) == ("asked", None)


def test_abandoning_takes_the_wish_back(daemon, link: Link, acquire):
    """A runner that wants nothing any more leaves no wish in the daemon's queue."""
    daemon.open()
    assert acquire("a").result(10)
    assert acquire("b").result(10)
    waiting = acquire("c")
    while not daemon.do(daemon.scheduler.waits, JOB_ID):
        pass
    link.abandon()
    assert not waiting.result(10)
    link.release("a")
    link.release("b")
    while daemon.do(daemon.scheduler.used).cpus or daemon.do(daemon.scheduler.waits, JOB_ID):
        pass
    assert link.cancel_reason is None


def test_a_runner_that_hangs_up_is_noticed(daemon, link: Link):
    """The daemon hears of the end of a line at once."""
    daemon.open()
    daemon.wait_heard("connected", JOB_ID)
    assert daemon.do(daemon.lines.is_connected, JOB_ID)
    link.close()
    daemon.wait_heard("hung up", JOB_ID)
    assert not daemon.do(daemon.lines.is_connected, JOB_ID)


@pytest.mark.parametrize(
    "words", [b"hello\n", b"{}\n", b'{"kind":"granted","key":"a"}\n', b"\xff\n", b"x" * 100 + b"\n"]
)
def test_nonsense_on_a_line_ends_that_line_only(daemon, link: Link, acquire, state, words: bytes):
    """Whoever talks nonsense is hung up on, and the others are served."""
    daemon.open()
    stranger = connect(state.run / "runners.sock", socket.SOCK_STREAM)
    with stranger:
        stranger.sendall(words)
        assert stranger.recv(1) == b""
    assert acquire("a").result(10)


def test_a_wish_before_the_hello_counts_for_nobody(daemon, state):
    """Who has not said which job it is gets nothing."""
    daemon.open()
    with connect(state.run / "runners.sock", socket.SOCK_STREAM) as stranger:
        stranger.sendall(Acquire(lease=Lease(key="a", resources=ONE)).line())
        stranger.sendall(HELLO.line())
        daemon.wait_heard("connected", JOB_ID)
        assert daemon.do(daemon.scheduler.used).cpus == 0
