"""What an operator does: run under a service manager, look at metrics, upgrade, back up and restore."""

import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)

ALONE = ("--prefect-api-url=http://127.0.0.1:1/api", "--prefect-grace=0")
"""No Prefect is needed for these; jobs do without it at once."""


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Be the service manager of the daemons that are started: with a watchdog of three seconds."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        yield made


def hear(mailbox: socket.socket, word: str) -> list[str]:
    """Read what the daemon tells its manager until this line comes; gives what came with it."""
    while True:
        lines = mailbox.recv(4096).decode().splitlines()
        if word in lines:
            return lines


def metrics(url: str) -> dict[str, float]:
    """Ask for the metrics; gives the samples that have no labels, or a state, by name and state."""
    text = httpx.get(url, timeout=60, trust_env=False).raise_for_status().text
    return {
        " ".join([sample.name, *(value for key, value in sample.labels.items() if key == "state")]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not set(sample.labels) - {"state"}
    }


def test_a_service_manager_hears_of_everything(mailbox, serve, jobs):
    """Ready when calls are answered, alive as long as the store is, metrics meanwhile, and the end before it comes."""
    daemon = serve(*ALONE, "--metrics=0")
    assert f"MAINPID={daemon.process.pid}" in hear(mailbox, "READY=1")
    assert daemon.jobctl("ping").code == 0
    hear(mailbox, "WATCHDOG=1")

    url = re.search(r'http://[^"\s]+/metrics', daemon.log)
    assert url is not None
    job_id = daemon.submit(jobs.write([jobs.act("a", public=True)]))
    assert daemon.watch(job_id).end() == 0
    told = metrics(url[0])
    assert told["jobd_up"] == told["jobd_jobs_submitted_total"] == told["jobd_jobs_ended_total succeeded"] == 1
    assert told["jobd_entry_duration_seconds_count"] == 1
    assert told["jobd_event_commit_lag_seconds_count"] >= 5
    assert told["jobd_store_commit_changes_sum"] >= told["jobd_store_commit_duration_seconds_count"] > 0
    assert told["jobd_prefect_ready"] == 0
    assert told["jobd_disk_free_bytes"] > 0

    # Nobody else ever writes to the database; who does makes the writer hang, as a broken disk would.
    with sqlite3.connect(daemon.state / "jobd.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        mailbox.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # what came while the job ran
            while mailbox.recv(4096):
                pass
        mailbox.settimeout(0.5)
        deadline = time.monotonic() + 4
        signs = 0
        while time.monotonic() < deadline:
            try:
                signs += "WATCHDOG=1" in mailbox.recv(4096).decode()
            except TimeoutError:
                continue
        assert signs <= 1  # the one that was under way
        other.execute("ROLLBACK")
    other.close()
    mailbox.settimeout(60)
    hear(mailbox, "WATCHDOG=1")

    assert daemon.stop() == 0
    hear(mailbox, "STOPPING=1")


def newer(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Install a version of the future in a folder; gives how its jobd is called, and with which environment."""
    for path in ("jobd", "client/jobctl", "protos/jobapi"):
        shutil.copytree(ROOT / path, folder / Path(path).name, ignore=shutil.ignore_patterns("__pycache__"))
    init = folder / "jobd/__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "99.0.0"', init.read_text()))
    return [sys.executable, "-m", "jobd"], {"PYTHONPATH": str(folder)}


def test_an_upgrade_leaves_what_runs_alone(serve, jobs, tmp_path, living):
    """The old daemon ends, one of another version and from another folder takes the job back: the very same process."""
    daemon = serve(*ALONE)
    gate, ledger = tmp_path / "gate", tmp_path / "ledger"
    steps = ([jobs.act("a", gate=gate, ledger=ledger)], [jobs.act("b", "a", ledger=ledger, public=True)])
    job_id = daemon.submit(jobs.write(*steps))
    watch = daemon.watch(job_id)
    watch.until("entry_progress")
    before = set(living(job_id))
    old = daemon.jobctl("ping", "-o", "json").json["version"]
    assert daemon.stop() == 0

    command, env = newer(tmp_path / "new")
    daemon.program, daemon.env = command, daemon.env | env
    daemon.start()
    assert daemon.jobctl("ping", "-o", "json").json["version"] == "99.0.0" != old
    assert before <= set(living(job_id))
    gate.touch()
    assert watch.end() == 0
    assert watch.of("job_recovering") == []
    assert [line.split()[1] for line in ledger.read_text().splitlines()] == ["1", "1"]


def test_a_backup_is_restored(serve, jobs, tmp_path, until):
    """Made while jobs run, it takes the place of a lost state directory: jobs and results are there, work goes on."""
    daemon = serve(*ALONE)
    gate = tmp_path / "gate"
    done = daemon.submit(jobs.write([jobs.act("result", public=True)], name="done"))
    assert daemon.watch(done).end() == 0
    steps = ([jobs.act("a")], [jobs.act("b", "a", gate=gate)], [jobs.act("c", "b", public=True)])
    running = daemon.submit(jobs.write(*steps, name="running"))
    daemon.watch(running).until("entry_progress", step="step2")
    backup = tmp_path / "backup"
    assert jobd("backup", "--state-dir", daemon.state, "--artifacts", backup) == 0

    daemon.submit(jobs.write([jobs.act("x", public=True)], name="later"))
    assert daemon.jobctl("cancel", running).code == 0
    daemon.jobctl("wait", running)
    assert daemon.stop() == 0
    until(lambda: not list((daemon.state / "jobs" / running).glob("work/*")), "nothing of the job is left")
    shutil.rmtree(daemon.state)

    shutil.copytree(backup, daemon.state)
    assert jobd("check", "--state-dir", daemon.state, "--repair") == 0
    daemon.start()
    listed = {job["id"]: job for job in daemon.jobctl("list", "-o", "json").json["jobs"]}
    assert listed.keys() == {done, running}
    assert listed[done]["state"] == "JOB_STATE_SUCCEEDED"
    to = tmp_path / "results"
    assert daemon.jobctl("download", done, "--to", to).code == 0
    assert (to / "result").read_bytes() == b"made\n"
    gate.touch()
    watch = daemon.watch(running)
    assert watch.end() == 0
    assert len(watch.of("job_recovering")) == 1
    started = [event["step"] for event in watch.of("entry_started")]
    assert started == ["step1", "step2", "step2", "step3"]  # what had finished is not done again


def jobd(*arguments: Any) -> int:
    """Run a command of jobd."""
    command = [str(Path(sys.executable).parent / "jobd"), *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=120, env=dict(os.environ)).returncode
