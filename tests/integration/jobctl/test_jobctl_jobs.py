"""Commands for several jobs at once, and for jobs that have ended: retry, delete, explain, wait, list --watch."""

import json
import signal
import subprocess
import sys

import pytest
import yaml
from jobapi.v1 import job_pb2, job_service_pb2
from jobctl.__main__ import main


@pytest.fixture
def others(daemon):
    """Jobs beside the one that succeeded: one of each other end, and one that runs."""
    for state in ("FAILED", "CANCELLED", "RUNNING"):
        name = state.lower()
        daemon.others[name] = job_pb2.Job(id=name, name="other", state=f"JOB_STATE_{state}", last_sequence=9)
    return daemon.others


def test_retry_prints_the_new_id_alone(daemon, others, capsys):
    """Standard output has the new job's id; which job it retries, and how to watch it, are on standard error."""
    assert main(["retry", "failed", "--request-id", "mine"]) == 0

    output = capsys.readouterr()
    assert output.out == "job7f3a\n"
    assert ("a retry of: failed" in output.err, "jobctl watch job7f3a" in output.err) == (True, True)
    assert [(request.id, request.request_id) for request in daemon.retries] == [("failed", "mine")]


def test_retry_is_repeated_with_one_request_id(daemon, others):
    """A daemon that is away for a moment gets the same request again."""
    daemon.submit_failures = 2

    assert main(["retry", "failed"]) == 0
    assert len(daemon.retries) == 3
    assert len({request.request_id for request in daemon.retries}) == 1


@pytest.mark.parametrize(("how", "lines"), [("--wait", 0), ("--watch", 6)])
def test_retry_follows_the_new_job(daemon, others, capsys, how, lines):
    """`--watch` shows the new job and `--wait` does not; both exit with its code."""
    daemon.events[-1].job_failed.SetInParent()
    daemon.job.state = job_pb2.JOB_STATE_FAILED

    assert main(["retry", "cancelled", how]) == 1
    output = capsys.readouterr()
    assert output.out == "job7f3a\n"
    assert lines == sum("  " in line and line[2] == ":" for line in output.err.splitlines())


def test_what_cannot_be_retried_is_refused(daemon, others, capsys):
    """A job that succeeded, and one that runs, end with 1 and the daemon's reason."""
    assert main(["retry", "@latest", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["reason"] == "NOT_RETRIABLE"
    assert main(["retry", "running"]) == 1
    assert main(["retry", "nosuch"]) == 6
    assert daemon.retries == []


def test_delete_removes_what_has_ended_and_tells_the_rest(daemon, others, capsys):
    """Every job has its turn; the ids of those that are gone are printed, and the code is the first failure's."""
    assert main(["delete", "failed", "running", "nosuch", "cancelled"]) == 1

    output = capsys.readouterr()
    assert output.out == "failed\ncancelled\n"
    assert ("job running is running" in output.err, "there is no job nosuch" in output.err) == (True, True)
    assert set(others) == {"running"}
    assert main(["delete", "nosuch", "@latest", "-o", "json"]) == 6
    assert json.loads(capsys.readouterr().out) == {"id": "job7f3a"}


def test_a_job_of_somebody_else_keeps_no_other_from_its_turn(daemon, others, capsys):
    """What one may do to a job depends on the job."""
    others["failed"].owner = "somebody else"
    assert main(["delete", "failed", "cancelled"]) == 4
    output = capsys.readouterr()
    assert (output.out, "belongs to somebody else" in output.err) == ("cancelled\n", True)
    assert set(others) == {"failed", "running"}


def test_cancel_takes_several(daemon, others, capsys):
    """Each job is told with its state, a repeated one once; as JSON each is a line."""
    assert main(["cancel", "running", "@latest", "running", "nosuch"]) == 6
    assert capsys.readouterr().out == "running CANCELLING\njob7f3a CANCELLING\n"
    assert main(["cancel", "running", "@latest", "-o", "json"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["running", "job7f3a"]


def test_without_a_daemon_no_job_has_its_turn(daemon, tmp_path, capsys):
    """One message is enough when none answers."""
    assert main(["delete", "a", "b", "--address", f"unix:{tmp_path}/none.sock"]) == 5
    assert capsys.readouterr().err.count("no daemon answers") == 1


def test_explain_says_why(daemon, capsys):
    """The whole job, or one entry; as text it is safe for a terminal, as JSON it has the wire's names."""
    assert main(["explain", "@latest"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["WHAT       WHY", "job        every entry succeeded", r"cut/audio  attempt 1 \x1b[2J succeeded"]
    assert main(["explain", "@latest", "cut/audio", "-o", "json"]) == 0
    [explanation] = json.loads(capsys.readouterr().out)["explanations"]
    assert explanation["subject"] == "cut/audio"
    assert main(["explain", "@latest", "cut/video"]) == 6
    assert main(["explain", "nosuch"]) == 6


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (["@latest"], 0),
        (["cancelled", "@latest"], 3),
        (["@latest", "failed", "cancelled"], 1),
        (["failed", "nosuch"], 6),
        (["cancelled", "cancelled"], 3),
    ],
)
def test_wait_is_silent_and_the_worst_code_counts(daemon, others, capsys, ids, code):
    """A failed job is worse than a cancelled one; an unknown one ends the wait at once."""
    assert code == main(["wait", *ids])
    assert capsys.readouterr().out == ""


def test_wait_outlives_interruptions(daemon, others):
    """A job that still runs is waited for across a restart of the daemon."""
    daemon.job.state, daemon.job.last_sequence = job_pb2.JOB_STATE_RUNNING, 2
    daemon.faults.extend([("restart", 3), ("ok", 2)])
    end = job_pb2.Job(id="job7f3a", state=job_pb2.JOB_STATE_CANCELLED)
    daemon.on_end = lambda: daemon.job.CopyFrom(end)

    assert main(["wait", "job7f3a"]) == 3
    assert [request.after_sequence for request in daemon.watches][:2] == [2, 3]


def test_wait_gives_up_at_the_timeout(daemon, others, capsys):
    """With --timeout the code is 124, for one job as for several, and the message says how to go on."""
    assert main(["wait", "failed", "running", "--timeout", "0.3"]) == 124
    errors = capsys.readouterr().err
    assert ("timed out after 0.3 s" in errors, "jobctl wait failed running" in errors) == (True, True)


def test_several_jobs_are_submitted_at_once(daemon, job_file, tmp_path, capsys):
    """Each id is on a line of its own, and --wait waits for all."""
    (tmp_path / "two.yaml").write_text("name: two\n")

    assert main(["submit", str(job_file), str(tmp_path / "two.yaml"), "--wait"]) == 0

    assert capsys.readouterr().out == "job7f3a\njob7f3a\n"
    assert [request.job_yaml for request in daemon.submits] == [b"name: demo\n", b"name: two\n"]
    assert len({request.request_id for request in daemon.submits}) == 2
    assert main(["submit", str(job_file), str(tmp_path / "two.yaml"), "-o", "json"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["job7f3a"] * 2


def test_nothing_is_submitted_when_one_of_several_is_wrong(daemon, job_file, tmp_path, capsys):
    """The violations of all files are told, each with its file; a missing one stops the others too."""
    two = tmp_path / "two.yaml"
    two.write_text("name: two\n")
    daemon.violations = [job_service_pb2.Violation(path="name", line=1, message="is bad")]

    assert main(["submit", str(job_file), str(two)]) == 7
    lines = capsys.readouterr().err.splitlines()
    assert [f"{job_file}:1: name: is bad", f"{two}:1: name: is bad", "jobctl: 2 job files have 2 problems"] == lines
    daemon.violations = []
    assert main(["submit", str(job_file), str(tmp_path / "none.yaml")]) == 7
    assert main(["submit", str(job_file), str(two), "--input", "imput=x"]) == 2
    assert f"{job_file}: --input imput" in capsys.readouterr().err
    assert daemon.submits == []


def test_several_plans_are_shown(daemon, job_file, capsys):
    """A dry run of several shows each plan and stores nothing."""
    assert main(["submit", str(job_file), str(job_file), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("extract_audio") == 2
    assert main(["submit", str(job_file), str(job_file), "--dry-run", "-o", "json"]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["demo", "demo"]
    assert daemon.submits == []


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["get", "@latest"], ["job7f3a"]),
        (["list", "--limit", "2"], ["job0", "job1"]),
        (["modules"], ["probe"]),
        (["modules", "probe"], ["probe"]),
    ],
)
def test_every_output_tells_the_same(daemon, capsys, command, names):
    """YAML holds what JSON holds, names are what other commands take, and the wide table has more columns."""
    printed = {}
    for output in ("table", "wide", "json", "yaml", "name"):
        assert main([*command, "-o", output]) == 0
        printed[output] = capsys.readouterr().out

    assert names == printed["name"].splitlines()
    assert json.loads(printed["json"]) == yaml.safe_load(printed["yaml"])
    assert all(name in printed[output] for output in ("table", "wide") for name in names)
    assert len(printed["wide"]) >= len(printed["table"])


def test_logs_begin_with_the_last_lines(daemon, capsysbinary):
    """`--tail` cuts each entry's log; with --follow the rest follows, each byte once."""
    data = {"a": b"one\ntwo\nthree\n", "b": b"x\ny"}
    daemon.logs = [
        job_service_pb2.LogsResponse(step="s", entry=entry, attempt=1, data=text) for entry, text in data.items()
    ]

    assert main(["logs", "@latest", "--tail", "1"]) == 0
    assert capsysbinary.readouterr().out == b"s/a | three\ns/b | y\n"
    assert main(["logs", "@latest", "s/a", "--tail", "2", "--follow"]) == 0
    assert capsysbinary.readouterr().out == b"two\nthree\n"


@pytest.fixture
def list_watch(daemon):
    """Run `list --watch` as a program, which is interrupted at the end."""
    started = []

    def run(*options):
        command = [sys.executable, "-m", "jobctl", "list", "--watch", *options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_watched_list_has_a_line_for_each_change(daemon, list_watch):
    """Without a terminal each job that is new, changed or gone is a line, across a restart; Ctrl-C ends with 130."""
    daemon.listed = [job_pb2.Job(id="jobb", name="b", state=2), job_pb2.Job(id="joba", name="a", state=1)]
    process = list_watch()
    assert [process.stdout.readline().split()[1] for _ in range(2)] == ["joba", "jobb"]

    daemon.listed = [job_pb2.Job(id="jobb", name="b", state=4), *daemon.listed[1:]]
    assert process.stdout.readline().split()[1:3] == ["jobb", "SUCCEEDED"]
    daemon.stop()
    daemon.listed = daemon.listed[:1]
    assert "trying again" in process.stderr.readline()
    daemon.start()
    assert process.stdout.readline().split()[1:3] == ["joba", "DELETED"]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_watched_list_as_json_says_what_is_gone(daemon, list_watch):
    """Each change is a line of JSON with its kind and the job."""
    daemon.listed = [job_pb2.Job(id="jobb", state=2)]
    process = list_watch("-o", "json")
    first = json.loads(process.stdout.readline())
    daemon.listed = []
    second = json.loads(process.stdout.readline())

    assert [(line["type"], line["job"]["id"]) for line in (first, second)] == [("changed", "jobb"), ("deleted", "jobb")]


def test_a_list_on_a_terminal_has_a_line_for_each_job(daemon, terminal, capsys):
    """A long reason is cut where the terminal ends; it is whole where a program reads it, or wide is asked for."""
    reason = "it went wrong " * 20
    failed = job_pb2.Job(id="job0", name="demo", state=job_pb2.JOB_STATE_FAILED)
    failed.failure.message = reason
    daemon.listed = [failed]

    code, screen = terminal("list")
    assert code == 0
    _, row = screen.splitlines()
    assert row.startswith("job0")
    assert (len(row), row[-1]) == (100, "…")
    assert reason.strip() in terminal("list", "-o", "wide")[1]
    assert main(["list"]) == 0
    assert reason.strip() in capsys.readouterr().out
