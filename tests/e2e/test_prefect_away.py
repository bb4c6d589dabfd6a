"""The embedded Prefect server is slow, or dies: jobs are accepted all the same, and run."""

import os
import signal
from pathlib import Path


def kill_prefect(daemon) -> int:
    """Kill the Prefect server of a daemon; gives its pid."""
    pid = int((daemon.state / "prefect/server.pid").read_text().split()[1])
    os.kill(pid, signal.SIGKILL)
    return pid


def test_prefect_may_come_late_and_go(lone_daemon, jobs, tmp_path, until):
    """A job is accepted before Prefect is up and told why it waits; Prefect's death harms neither it nor others."""
    gate = tmp_path / "gate"
    job_id = lone_daemon.submit(jobs.write([jobs.act("a", gate=gate)], [jobs.act("b", "a", public=True)]))
    assert lone_daemon.get(job_id)["state"] == "JOB_STATE_QUEUED"
    watch = lone_daemon.watch(job_id)
    assert "Prefect" in watch.until("job_waiting")["job_waiting"]["reason"]
    watch.until("entry_progress")

    dead = kill_prefect(lone_daemon)
    gate.touch()
    assert watch.end() == 0

    following = lone_daemon.submit(jobs.write([jobs.act("x", public=True)]))
    assert lone_daemon.watch(following).end() == 0
    assert int((lone_daemon.state / "prefect/server.pid").read_text().split()[1]) != dead
    assert lone_daemon.final_run(following, tasks=1, seconds=60)["state_type"] == "COMPLETED"
    # What the first job did while Prefect was dead may be missing there, but nothing may look as if it still ran.
    (run,) = lone_daemon.runs(job_id)
    assert run["name"].endswith(job_id[:8])
    final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
    until(lambda: lone_daemon.runs(job_id)[0]["state_type"] == "COMPLETED", "the flow run ends in the job's state", 30)
    until(
        lambda: {task["state_type"] for task in lone_daemon.runs(job_id)[0]["tasks"]} <= final,
        "no task run looks as if it still ran",
        30,
    )


def test_a_daemon_that_is_killed_takes_prefect_with_it_and_the_next_brings_another(lone_daemon, jobs, tmp_path):
    """In the default set-up too, a job outlives the daemon's death, and no Prefect server is left behind."""
    gate, ledger = tmp_path / "gate", tmp_path / "ledger"
    job_id = lone_daemon.submit(
        jobs.write([jobs.act("a", gate=gate, ledger=ledger)], [jobs.act("b", "a", ledger=ledger, public=True)])
    )
    watch = lone_daemon.watch(job_id)
    watch.until("entry_progress")
    server = (lone_daemon.state / "prefect/server.pid").read_text().split()[1]
    lone_daemon.kill()
    lone_daemon.start()
    gate.touch()
    assert watch.end() == 0
    assert len(ledger.read_text().splitlines()) == 2
    assert lone_daemon.jobctl("submit", jobs.write([jobs.act("x", public=True)]), "--wait").code == 0
    assert (lone_daemon.state / "prefect/server.pid").read_text().split()[1] != server
    assert not Path("/proc", server).exists()


def test_a_job_runs_without_prefect(serve, jobs):
    """When Prefect does not come within the grace, the job runs all the same, with everything but the dashboard."""
    daemon = serve("--prefect-api-url=http://127.0.0.1:1/api", "--prefect-grace=0")
    steps = [jobs.act("a", name="l"), jobs.act("b", name="r")], [jobs.act("c", "a", "b", public=True)]
    job_id = daemon.submit(jobs.write(*steps))
    watch = daemon.watch(job_id)
    assert watch.end() == 0
    assert len(watch.of("entry_succeeded")) == 3
    shown = daemon.jobctl("open", job_id)
    assert (shown.code, shown.out) == (6, "")
    assert daemon.jobctl("ping", "-o", "json").json["prefect_status"] != "ready"


def test_what_prefect_missed_is_written_down_later(serve, jobs):
    """A job that ran before Prefect was up is found in its dashboard afterwards, with each of its entries."""
    daemon = serve("--prefect-port=0", "--prefect-grace=0")
    file = jobs.write([jobs.act("a")], [jobs.act("b", "a", public=True)], name="early")
    job_id = daemon.submit(file, "--wait")
    daemon.wait_for_prefect()
    run = daemon.final_run(job_id, tasks=2, seconds=60)
    assert (run["state_type"], run["name"]) == ("COMPLETED", f"early-{job_id[:8]}")
    assert sorted(task["name"] for task in run["tasks"]) == ["step1/act", "step2/act"]
    assert daemon.jobctl("open", job_id).out.strip().endswith(run["id"])
