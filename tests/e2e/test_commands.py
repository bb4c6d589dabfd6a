"""The commands of jobctl against a real daemon: what they print, and the exit codes."""

import base64
import json
import os
import signal
import stat
from urllib.parse import unquote

import pytest


@pytest.fixture(scope="module")
def finished(daemon, tmp_path_factory) -> str:
    """The id of a job that has succeeded, with two entries."""
    folder = tmp_path_factory.mktemp("finished")
    outputs = [[{"name": name, "param_name": "output", "type": "data", "public": True}] for name in "ab"]
    entries = [{"module": "act", "name": f"e{names[0]['name']}", "output_artifacts": names} for names in outputs]
    path = folder / "job.yaml"
    path.write_text(json.dumps({"name": "finished", "version": 1.10, "steps": [{"name": "s", "entries": entries}]}))
    return daemon.submit(path, "--label", "team=sound", "--wait")


def test_the_events_are_numbered_without_a_gap(daemon, finished):
    """Sequences are 1 to n, and the last event, and only that, is terminal; two watchers see the same."""
    first, second = daemon.watch(finished), daemon.watch(finished)
    assert (first.end(), second.end()) == (0, 0)
    assert [event["sequence"] for event in first.seen] == list(range(1, len(first.seen) + 1))
    terminal = [event["sequence"] for event in first.seen if event["type"].startswith("job_succeeded")]
    assert terminal == [len(first.seen)]
    assert first.seen == second.seen


def test_a_watch_goes_on_after_a_sequence(daemon, finished):
    """--after N gives what comes after N, and a watch from the end ends at once with the job's code."""
    everything = daemon.watch(finished)
    assert everything.end() == 0
    for after in (3, len(everything.seen)):
        later = daemon.watch(finished, "--after", str(after))
        assert later.end() == 0
        assert later.seen == everything.seen[after:]


def test_watchers_of_a_running_job_see_what_one_sees_who_comes_later(daemon, jobs, tmp_path):
    """One watches from the beginning, one joins in the middle, one comes after the end: no difference."""
    gate = tmp_path / "gate"
    job_id = daemon.submit(jobs.write([jobs.act("x", gate=gate)]))
    early = daemon.watch(job_id)
    early.until("entry_progress")
    middle = daemon.watch(job_id)
    middle.until("entry_progress")
    gate.touch()
    assert (early.end(), middle.end()) == (0, 0)
    late = daemon.watch(job_id)
    assert late.end() == 0
    assert early.seen == middle.seen == late.seen


def test_a_watch_that_takes_too_long_leaves_the_job_alone(daemon, jobs, tmp_path):
    """--timeout ends the watch with 124, and the job goes on."""
    gate = tmp_path / "gate"
    done = daemon.jobctl("submit", jobs.write([jobs.act("x", gate=gate)]), "--wait", "--timeout", "0.5")
    assert done.code == 124
    job_id = done.out.strip()
    assert daemon.get(job_id)["state"] in {"JOB_STATE_QUEUED", "JOB_STATE_RUNNING"}
    gate.touch()
    assert daemon.jobctl("watch", job_id).code == 0


def test_ctrl_c_leaves_the_job_alone(daemon, jobs, tmp_path):
    """An interrupted watch exits with 130, says how to go on, and the job goes on."""
    gate = tmp_path / "gate"
    job_id = daemon.submit(jobs.write([jobs.act("x", gate=gate)]))
    watch = daemon.watch(job_id)
    watch.until("entry_progress")
    watch.process.send_signal(signal.SIGINT)
    assert watch.end() == 130
    assert f"jobctl watch {job_id}" in watch.process.stderr.read()
    gate.touch()
    assert daemon.jobctl("watch", job_id).code == 0


def test_submit_watch_tells_scripts_everything(daemon, jobs):
    """With -o json, the first line is the job, and each event follows as a line of its own."""
    done = daemon.jobctl("submit", jobs.write([jobs.act("x")]), "--watch", "-o", "json")
    assert done.code == 0, done.err
    job, *events = [json.loads(line) for line in done.out.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert {event["job_id"] for event in events} == {job["id"]}
    assert events[-1]["type"] == "job_succeeded"


def test_logs_of_one_entry_are_what_it_wrote(daemon, finished):
    """For an entry the bytes as they are, for a job each line with its entry."""
    one = daemon.jobctl("logs", finished, "s/ea")
    assert sorted(one.out.splitlines()) == ["a complaint", "openjd_status: at the gate", "the module speaks, attempt 1"]
    both = daemon.jobctl("logs", finished)
    assert {line.partition(" | ")[0] for line in both.out.splitlines()} == {"s/ea", "s/eb"}


def test_followed_logs_end_with_the_job(daemon, jobs, tmp_path):
    """--follow gives everything up to the end of a job that was only just submitted, and then ends."""
    entries = [jobs.act("a", name="one"), jobs.act("b", name="two", ledger=tmp_path / "l", failures=1, retries=1)]
    job_id = daemon.submit(jobs.write(entries, [jobs.act("c", name="three")]))
    followed = daemon.jobctl("logs", job_id, "--follow")
    assert followed.code == 0
    spoken = [line for line in followed.out.splitlines() if "the module speaks" in line]
    assert sorted(spoken) == [
        "step1/one | the module speaks, attempt 1",
        "step1/two | the module speaks, attempt 1",
        "step1/two | the module speaks, attempt 2",
        "step2/three | the module speaks, attempt 1",
    ]


def test_a_job_is_found_by_id_prefix_and_latest(daemon, finished):
    """get takes the id and its beginning, and tells what was submitted."""
    job = daemon.get(finished)
    assert daemon.get(finished[:8])["id"] == job["id"] == finished
    assert (job["name"], job["version"], job["labels"]) == ("finished", "1.1", {"team": "sound"})
    assert (job["entry_count"], job["ended_entry_count"]) == (2, 2)
    text = daemon.jobctl("get", finished)
    assert text.code == 0
    assert "SUCCEEDED" in text.out


def test_jobs_are_listed_newest_first(daemon, finished, jobs):
    """A newer job stands before an older one; state, name and limit choose."""
    newest = daemon.submit(jobs.write([jobs.act("x")], name="newest"), "--wait")
    listed = [job["id"] for job in daemon.jobctl("list", "-o", "json").json["jobs"]]
    assert listed.index(newest) < listed.index(finished)
    assert daemon.jobctl("get", "@latest", "-o", "json").json["id"] == newest
    named = daemon.jobctl("list", "--name", "finished", "--state", "succeeded", "-o", "json").json["jobs"]
    assert [job["id"] for job in named] == [finished]
    assert len(daemon.jobctl("list", "--limit", 1, "-o", "json").json["jobs"]) == 1
    assert finished in daemon.jobctl("list").out


def test_modules_come_and_go_without_a_restart(daemon, jobs):
    """A new folder is a module that runs; a broken one is listed with its reason and disturbs nobody."""
    broken = daemon.modules / "broken"
    broken.mkdir()
    (broken / "manifest.yaml").write_text("name: broken_one\ndescription: x\nentrypiont: main.py\n")
    fresh = daemon.modules / "deep/fresh"
    fresh.mkdir(parents=True)
    (fresh / "main.py").write_text("import sys\nopen(sys.argv[2], 'w').write('fresh')\n")
    (fresh / "manifest.yaml").write_text(
        "name: fresh\ndescription: is new\nentrypoint: main.py\noutputs: [{param_name: output, type: data}]\n"
    )
    told = daemon.jobctl("modules", "-o", "json").json
    assert {"act", "example_module", "fresh", "transcode"} <= {module["name"] for module in told["modules"]}
    (item,) = [item for item in told["broken"] if item["folder"] == str(broken)]
    assert "entrypiont" in " ".join(item["reasons"])
    assert "entrypoint" in " ".join(item["reasons"])
    assert "is new" in daemon.jobctl("modules").out
    job_id = daemon.submit(jobs.write([jobs.act("x", public=True) | {"module": "fresh"}]), "--wait")
    assert daemon.get(job_id)["state"] == "JOB_STATE_SUCCEEDED"
    assert daemon.jobctl("modules", "nothing").code == 6
    (fresh / "manifest.yaml").unlink()
    assert daemon.jobctl("modules", "fresh").code == 6


def test_open_prints_the_address_of_the_run(daemon, finished):
    """The address leads to the flow run in the dashboard, and carries the password where no server sees it."""
    done = daemon.jobctl("open", finished)
    page, _, hidden = done.out.strip().partition("#")
    key, path = map(unquote, hidden.split("&"))
    assert (done.code, page) == (0, f"{daemon.dashboard}/jobd/login")
    assert base64.b64decode(key).decode() == daemon.prefect_auth
    assert path == f"/runs/flow-run/{daemon.get(finished)['flow_run_id']}"


def test_ping_tells_what_the_daemon_is(daemon):
    """Version, Prefect's state and the capacity."""
    info = daemon.jobctl("ping", "-o", "json").json
    assert info["prefect_status"] == "ready"
    assert info["capacity_cpus"] == 2
    assert "jobd" in daemon.jobctl("ping").out


def test_a_repeated_request_gives_the_same_job(daemon, jobs):
    """--request-id twice is one job; with another job file it is an error."""
    file = jobs.write([jobs.act("x")], name="once")
    first, second = (daemon.submit(file, "--request-id", "my-request") for _ in range(2))
    assert first == second
    assert len(daemon.jobctl("list", "--name", "once", "-o", "json").json["jobs"]) == 1
    other = daemon.jobctl("submit", jobs.write([jobs.act("y")], name="other"), "--request-id", "my-request")
    assert (other.code, other.out) == (1, "")
    assert daemon.jobctl("watch", first).code == 0


def test_a_job_file_comes_from_standard_input(daemon, jobs):
    """`-` reads the job from standard input."""
    done = daemon.jobctl("submit", "-", "--wait", stdin=jobs.write([jobs.act("x")]).read_text())
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    "command", ["get zzzz", "watch zzzz", "cancel zzzz", "logs zzzz", "download zzzz", "open zzzz", "modules zzzz"]
)
def test_what_does_not_exist_is_6(daemon, command):
    """Every command says that there is no such thing."""
    done = daemon.jobctl(*command.split())
    assert (done.code, done.out) == (6, "")
    assert "zzzz" in done.err


def test_a_missing_entry_or_artifact_is_6(daemon, finished, tmp_path):
    """Of a job that exists, an entry or an artifact that does not."""
    assert daemon.jobctl("logs", finished, "s/nothing").code == 6
    assert daemon.jobctl("download", finished, "nothing", "--to", tmp_path).code == 6


def test_without_a_daemon_it_is_5(daemon, tmp_path):
    """A socket that is not there and a port that nobody serves."""
    for address in (f"unix:{tmp_path}/none", "127.0.0.1:1"):
        done = daemon.jobctl("ping", JOBCTL_ADDRESS=address)
        assert done.code == 5
        assert address in done.err


@pytest.mark.parametrize("command", ["", "nothing", "submit", "watch", "list --state maybe", "get x --outptu json"])
def test_a_bad_command_line_is_2(daemon, command):
    """Standard output stays empty."""
    done = daemon.jobctl(*command.split())
    assert (done.code, done.out) == (2, "")


def test_tcp_asks_for_the_token(daemon, finished):
    """Without, or with a wrong one, it is 4 and nothing is told; with the file that only its owner may read it is 0."""
    token = daemon.state / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.state.stat().st_mode) == 0o700
    tcp = {"JOBCTL_ADDRESS": f"127.0.0.1:{daemon.tcp_port}", "HOME": "/nonexistent"}
    for env in ({}, {"JOBCTL_TOKEN": "wrong"}):
        for command in (("get", finished), ("list",), ("cancel", finished), ("modules",), ("ping",)):
            done = daemon.jobctl(*command, **tcp, **env)
            assert (done.code, done.out) == (4, ""), done
    assert daemon.jobctl("get", finished, "--token-file", token, **tcp).code == 0
    assert daemon.jobctl("get", finished, JOBCTL_TOKEN=token.read_text().strip(), **tcp).code == 0


def test_jobctl_finds_the_daemon_and_its_token_by_itself(daemon, finished):
    """Without any address the unix socket is found; with the TCP address alone, the token is."""
    assert daemon.jobctl("get", finished, JOBCTL_ADDRESS="").code == 0
    assert daemon.jobctl("get", finished, JOBCTL_ADDRESS=f"127.0.0.1:{daemon.tcp_port}").code == 0


def test_no_one_else_can_reach_the_socket(daemon):
    """The folders of the daemon are closed to other users."""
    for path in (daemon.state, daemon.state / "jobs", daemon.state / "run"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert path.stat().st_uid == os.getuid()
