"""Watching a job through whatever happens to the daemon meanwhile."""

import json
import random
import signal
import subprocess
import sys

import pytest
from jobapi.v1 import job_pb2
from jobctl.__main__ import main
from jobctl.client import Client
from jobctl.endpoint import Endpoint, resolve_endpoint
from jobctl.errors import TimedOutError, UnreachableError
from jobctl.patience import Patience

HASTY = Patience(outage=10.0, silence=0.5, first_delay=0.01, last_delay=0.1)


@pytest.fixture
def client(daemon):
    """A client that does not wait for long."""
    with Client(Endpoint(address=resolve_endpoint().address, token=""), patience=HASTY) as made:
        yield made


def watch_sequences(client, job_id="@latest", **options):
    """Give the sequences of the events that a watch yields."""
    return [item.sequence for item in client.watch(job_id, **options) if isinstance(item, job_pb2.Event)]


@pytest.mark.parametrize("how", ["unavailable", "cancelled", "ok", "silence", "repeat", "gap", "restart"])
@pytest.mark.parametrize("after", [1, 2, 7])
def test_each_event_comes_once_whatever_breaks_the_stream(daemon, client, how, after):
    """A broken, closed, silent, repeating or leaping stream is resumed without loss or repetition."""
    daemon.faults.append((how, after))

    assert list(range(1, 13)) == watch_sequences(client)


@pytest.mark.parametrize("seed", range(3))
def test_each_event_comes_once_across_many_restarts(daemon, client, make_history, seed):
    """Restarts of the daemon at random points lose nothing and repeat nothing."""
    chance = random.Random(seed)
    daemon.events = make_history(count=60)
    daemon.faults.extend((chance.choice(["restart", "unavailable", "ok"]), chance.randrange(1, 20)) for _ in range(5))

    assert list(range(1, 61)) == watch_sequences(client)


def test_a_resumed_watch_stays_with_the_job_that_latest_was(daemon, client):
    """After the first answer the full id is asked for, and only events after the last seen."""
    daemon.faults.append(("unavailable", 5))

    watch_sequences(client, "@latest")

    assert [(item.id, item.after_sequence) for item in daemon.watches] == [("@latest", 0), ("job7f3a", 2)]


def test_a_watch_after_the_last_event_ends_at_once(daemon, client):
    """An ended job whose events are all known has nothing more to tell."""
    assert watch_sequences(client, after=12) == []
    assert len(daemon.watches) == 1


def test_a_daemon_that_never_comes_back_is_given_up(daemon):
    """After the stated time without a daemon the watch fails as unreachable."""
    patience = Patience(outage=0.5, silence=5.0, first_delay=0.01, last_delay=0.1)
    daemon.faults.append(("silence", 1))
    with Client(resolve_endpoint(), patience=patience) as client:
        stream = client.watch("job7f3a")
        assert isinstance(next(stream), job_pb2.Job)
        daemon.stop()

        with pytest.raises(UnreachableError):
            list(stream)


def test_a_stream_that_never_makes_progress_is_given_up(daemon, client):
    """A daemon that answers and breaks off for ever does not hold a watch for ever."""
    daemon.faults.extend([("unavailable", 1)] * 100)

    with pytest.raises(UnreachableError):
        watch_sequences(client)


def test_the_timeout_ends_a_watch(daemon, client):
    """A watch with a timeout raises when its time is over, also while nothing comes."""
    daemon.faults.append(("silence", 3))

    with pytest.raises(TimedOutError):
        watch_sequences(client, timeout=0.3)


@pytest.mark.parametrize(("end", "code"), [("job_succeeded", 0), ("job_failed", 1), ("job_cancelled", 3)])
def test_the_exit_code_is_the_jobs(daemon, make_history, capsys, end, code):
    """Watching ends with the code of the job's end."""
    daemon.events = make_history(end)
    daemon.job.state = getattr(job_pb2, f"JOB_STATE_{end.removeprefix('job_').upper()}")

    assert code == main(["watch", "job7f3a"])
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_json_lines_have_number_sequences_and_types(daemon, capsys):
    """Each event is one line of JSON with a number as sequence and its kind; nothing else is on standard output."""
    assert main(["watch", "@latest", "-o", "json", "--after", "2"]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(range(3, 13)) == [line["sequence"] for line in lines]
    assert lines[0]["entry_started"] == {"step": "cut", "entry": "audio", "attempt": 1, "pid": 42}
    assert (lines[0]["type"], lines[-1]["type"]) == ("entry_started", "job_succeeded")


def test_interrupting_a_watch_leaves_the_job_alone(daemon):
    """Ctrl-C ends the watch with 130 and says how to go on; no cancel is sent."""
    daemon.faults.append(("silence", 4))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobctl", "watch", "@latest"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert "submitted" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 130, errors
    assert "detached; the job goes on: jobctl watch job7f3a | jobctl cancel job7f3a" in errors
    assert daemon.job.state == job_pb2.JOB_STATE_SUCCEEDED


def test_a_reader_that_stops_reading_ends_the_watch_quietly(daemon, make_history):
    """A closed pipe ends the command without a traceback."""
    daemon.events = make_history(count=3000)
    script = f'"{sys.executable}" -m jobctl watch @latest -o json | head -n 1'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_terminal_gets_a_live_view_and_a_summary(daemon, terminal):
    """On a terminal the picture has the job, its end and how to fetch the results."""
    code, screen = terminal("watch", "@latest")

    assert code == 0
    assert "jobctl download job7f3a" in screen
    assert "SUCCEEDED" in screen


def test_a_failed_job_ends_with_its_last_lines_and_ways_to_go_on(daemon, terminal, capsys):
    """On a terminal and elsewhere the end has the entry's last lines, safe, its log and the retry."""
    failure = job_pb2.Failure(
        message="exit code 9", step="cut", entry="audio", log_tail=["a\x1b[2Jb", "the tape is torn"]
    )
    daemon.events[-1].job_failed.failure.CopyFrom(failure)
    daemon.job.state = job_pb2.JOB_STATE_FAILED
    daemon.job.failure.CopyFrom(failure)

    code, screen = terminal("watch", "@latest")
    assert (code, main(["watch", "@latest"])) == (1, 1)
    expected = [
        "cut/audio: exit code 9",
        r"  | a\x1b[2Jb",
        "  | the tape is torn",
        "log: jobctl logs job7f3a cut/audio",
    ]
    expected.append("retry: jobctl retry job7f3a")
    for printed in (screen.replace("\r", ""), capsys.readouterr().err):
        lines = printed.splitlines()
        start = lines.index(expected[0])
        assert expected == lines[start : start + 5]


def test_a_terminal_gets_a_table_that_stays(daemon, terminal):
    """`list --watch` draws the table, as much as there is room for, until Ctrl-C; the last one stays."""
    code, screen = terminal("list", "--watch", interrupt_at="and 30 more")

    assert code == 130
    assert "job19" in screen
    assert "job20" not in screen
