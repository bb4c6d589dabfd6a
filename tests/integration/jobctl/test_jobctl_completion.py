"""Completion in real shells, at a keyboard."""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

import pytest
from jobapi.v1 import job_pb2
from jobctl.__main__ import main

STARTS = {
    "bash": (["bash", "--norc", "-i"], "bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'\n"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit && compinit -u -D\n"),
    "fish": (["fish", "--no-config", "-i"], ""),
}
LOADS = {"bash": "source <(jobctl completion bash)", "zsh": "source <(jobctl completion zsh)",
         "fish": "jobctl completion fish | source"}  # fmt: skip


def take_terminal():
    """Make standard input the terminal that controls this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine is no reason to offer nothing."""
    monkeypatch.setenv("JOBCTL_COMPLETION_SECONDS", "30")


class Keyboard:
    """A shell on a terminal of its own."""

    def __init__(self, shell, folder):
        """Start it and load the completion."""
        command, prepare = STARTS[shell]
        self.master, slave = os.openpty()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "jobctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobctl "$@"\n')
        (programs / "jobctl").chmod(0o755)
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ ",
                       "HOME": str(folder), "HISTFILE": "/dev/null"}  # fmt: skip
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=folder, start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - a shell that edits lines wants a terminal of its own
        )  # fmt: skip
        os.close(slave)
        self.type(f"{prepare}{LOADS[shell]}\necho lo''aded\n", "loaded")

    def type(self, keys, awaited):
        """Type, and read until the text is there; gives what came."""
        os.write(self.master, keys.encode())
        screen, deadline = b"", time.monotonic() + 60
        while awaited.encode() not in screen:
            assert time.monotonic() < deadline, screen.decode(errors="replace")
            if select.select([self.master], [], [], 1)[0]:
                screen += os.read(self.master, 4096)
        return screen.decode(errors="replace")

    def close(self):
        """End it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        os.close(self.master)


@pytest.fixture(params=["bash", "zsh", "fish"])
def keyboard(request, daemon, patience, tmp_path):
    """A shell, where it is installed."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    made = Keyboard(request.param, tmp_path)
    yield made
    made.close()


def test_the_keyboard_completes_what_the_daemon_knows(daemon, keyboard):
    """Ids, entries, artifacts, modules, contexts and inputs are filled in by the tab key."""
    daemon.listed = [job_pb2.Job(id="k3stone", name="night", state=2), job_pb2.Job(id="job7f3a", name="day", state=4)]
    keyboard.type("jobctl watch k3\t", "watch k3stone ")
    keyboard.type("\x15jobctl logs job7f3a cut/\t", "cut/audio ")
    keyboard.type("\x15jobctl download job7f3a aud\t", "audio.wav ")
    keyboard.type("\x15jobctl modules pr\t", "probe ")
    keyboard.type("\x15jobctl watch @la\t", "@latest ")
    keyboard.type("\x15jobctl list --state SUCC\t", "SUCCEEDED ")
    keyboard.type("\x15jobctl list --output=js\t", "--output=json ")


def test_files_are_the_shells_own_affair(daemon, keyboard, tmp_path):
    """A job file is completed as a path, and so is an input behind its name, which the job file tells."""
    (tmp_path / "nightly.yaml").write_text("name: x\n")
    (tmp_path / "holiday.mp4").write_text("x")
    keyboard.type("jobctl submit nigh\t", "nightly.yaml ")
    keyboard.type("--input in\t", "input=")
    keyboard.type("holi\t", "day.mp4 ")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["get", ""], ["run", "bad", "@latest"]),
        (["get", "ru"], ["run"]),
        (["cancel", "run", ""], ["bad", "@latest"]),
        (["explain", "job7f3a", ""], ["cut", "cut/audio"]),
        (["download", "job7f3a", "audio.wav", ""], ["stills"]),
        (["modules", ""], ["probe"]),
        (["submit", "{file}", "--input", ""], ["input="]),
        (["get", "nosuch", ""], []),
    ],
)
def test_the_daemon_tells_what_fits(daemon, job_file, capsys, words, found):
    """Newest first, without what is on the line already; texts are safe to print."""
    daemon.listed = [job_pb2.Job(id="run", name="a\x1b[2J", state=2), job_pb2.Job(id="bad", name="b", state=5)]
    assert main(["__complete", "fish", *(word.format(file=job_file) for word in words)]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert found == [line.partition("\t")[0] for line in lines]
    assert "\x1b" not in "".join(lines)


def test_another_daemon_is_asked_where_the_line_names_one(daemon, monkeypatch, tmp_path, capsys):
    """`--address` before or after the command holds for what is offered."""
    monkeypatch.setenv("JOBCTL_ADDRESS", f"unix:{tmp_path}/nobody")
    for words in (["--address", daemon.address, "get", "job4"], ["get", "--address", daemon.address, "job4"]):
        main(["__complete", "zsh", *words])
        assert "job4:RUNNING demo" in capsys.readouterr().out
