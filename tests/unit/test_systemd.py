"""Telling the service manager: the datagrams, and when the watchdog gets none."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from jobd.systemd import Manager


@pytest.fixture(params=["path", "abstract"])
def mailbox(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Give the socket that a service manager listens on, named in the environment in either way."""
    name = f"@jobd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        made.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield made


def heard(mailbox: socket.socket) -> list[str]:
    """Give the lines of the next datagram."""
    return mailbox.recv(4096).decode().splitlines()


def quiet(mailbox: socket.socket) -> bool:
    """Tell whether nothing more was sent."""
    mailbox.setblocking(False)
    try:
        mailbox.recv(4096)
    except BlockingIOError:
        return True
    finally:
        mailbox.settimeout(30)
    return False


def test_readiness_status_and_stop_are_told(mailbox: socket.socket):
    """Each is one datagram; a status cannot begin a line of its own."""
    manager = Manager(structlog.get_logger())
    manager.ready("serving here\nand there")
    assert heard(mailbox) == ["READY=1", "STATUS=serving here and there", f"MAINPID={os.getpid()}"]
    manager.stopping()
    assert heard(mailbox) == ["STOPPING=1", "STATUS=stopping; jobs that run go on"]


def test_children_do_not_get_the_address(mailbox: socket.socket, monkeypatch: pytest.MonkeyPatch):
    """The variables are gone from the environment: what a runner said there would count as the daemon's word."""
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Manager(structlog.get_logger()).watchdog_seconds == 3.0
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)


@pytest.mark.parametrize(("usec", "pid"), [("3000000", "1"), ("", ""), ("soon", "")])
def test_a_watchdog_of_somebody_else_is_left_alone(mailbox, monkeypatch: pytest.MonkeyPatch, usec: str, pid: str):
    """One that is meant for another process, or is none, asks nothing of this one."""
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert Manager(structlog.get_logger()).watchdog_seconds == 0.0


def test_without_a_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    """A daemon on a terminal needs no service manager, and no error comes of it."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    manager = Manager(structlog.get_logger())
    manager.ready("serving")
    manager.stopping()
    assert manager.watchdog_seconds == 0.0


def test_a_manager_that_has_gone_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A socket that nobody listens on is told of in the log, and that is all."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with structlog.testing.capture_logs() as logged:
        Manager(structlog.get_logger()).say("serving")
    assert [line["event"] for line in logged] == ["service_manager_not_told"]


def test_the_watchdog_is_fed_only_while_there_are_answers(mailbox, monkeypatch: pytest.MonkeyPatch):
    """Each answer is worth one sign of life; as long as the next does not come there is none."""
    monkeypatch.setenv("WATCHDOG_USEC", "3000")
    manager = Manager(structlog.get_logger())

    async def watch() -> None:
        answers: asyncio.Queue[None] = asyncio.Queue()
        task = asyncio.create_task(manager.keep_alive(answers.get))
        loop = asyncio.get_running_loop()
        for _ in range(3):
            answers.put_nowait(None)
            assert await loop.run_in_executor(None, heard, mailbox) == ["WATCHDOG=1"]
        for _ in range(20):  # turns of the loop, more than a hundredth of a second each
            await asyncio.sleep(0.01)
        assert answers._getters  # it has asked again, and waits
        assert quiet(mailbox)
        task.cancel()

    asyncio.run(watch())
