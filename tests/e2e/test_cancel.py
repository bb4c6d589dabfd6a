"""A cancel reaches everything, and changes nothing of what has ended."""


def transcode(jobs):
    """Write a job that would take minutes."""
    entry = {
        "module": "transcode",
        "params": {"codec": "hevc", "preset": "veryslow", "width": 3840},
        "input_artifacts": [{"name": "video.mp4", "param_name": "video", "type": "video"}],
        "output_artifacts": [{"name": "large.mp4", "param_name": "result", "type": "video", "public": True}],
    }
    return jobs.write([entry], input_artifacts=[{"param_name": "video", "type": "video"}])


def test_a_cancel_during_a_transcode_ends_it(daemon, jobs, sample, living):
    """The job is CANCELLED, whoever watches exits with 3, nothing of it lives, and Prefect shows the same."""
    job_id = daemon.submit(transcode(jobs), f"--input=video={sample}")
    watch = daemon.watch(job_id)
    watch.until("entry_progress")
    assert living(job_id) != []
    assert daemon.jobctl("cancel", job_id, "--reason", "changed my mind").code == 0
    assert watch.end() == 3
    assert living(job_id) == []
    assert watch.of("job_cancelling")[0]["reason"] == "changed my mind"
    assert watch.seen[-1]["type"] == "job_cancelled"
    assert daemon.get(job_id)["state"] == "JOB_STATE_CANCELLED"
    artifacts = daemon.state / "jobs" / job_id / "artifacts"
    assert [path.name for path in artifacts.iterdir()] == ["video.mp4"]
    run = daemon.final_run(job_id, tasks=1)
    assert (run["state_type"], run["tasks"][0]["state_type"]) == ("CANCELLED", "CANCELLED")


def test_a_module_that_does_not_listen_is_killed_with_all_it_started(daemon, jobs, tmp_path, living):
    """SIGTERM is not obeyed, and a descendant is in another session: after the grace both are gone."""
    job_id = daemon.submit(jobs.write([jobs.act("x", gate=tmp_path / "never", stubborn=True, offspring=True)]))
    watch = daemon.watch(job_id)
    watch.until("entry_progress")
    assert len(living(job_id)) == 2
    daemon.jobctl("cancel", job_id)
    assert watch.end() == 3
    assert living(job_id) == []


def test_a_queued_job_is_cancelled_at_once(daemon, jobs, tmp_path):
    """A job that waits for capacity never starts, and jobs behind it do."""
    gate = tmp_path / "gate"
    busy = daemon.submit(jobs.write([jobs.act("x", gate=gate, resources={"cpus": 2})]))
    busy_watch = daemon.watch(busy)
    busy_watch.until("entry_started")
    queued = daemon.submit(jobs.write([jobs.act("x", ledger=tmp_path / "ledger")]))
    assert daemon.get(queued)["state"] == "JOB_STATE_QUEUED"
    behind = daemon.submit(jobs.write([jobs.act("x")]))
    cancelled = daemon.jobctl("cancel", queued)
    assert cancelled.code == 0
    assert "CANCELLED" in cancelled.out
    watch = daemon.watch(queued)
    assert watch.end() == 3
    assert watch.of("entry_started") == []
    gate.touch()
    assert busy_watch.end() == 0
    assert daemon.watch(behind).end() == 0
    assert not (tmp_path / "ledger").exists()


def test_a_cancel_in_the_dashboard_cancels_the_job(daemon, jobs, tmp_path, living):
    """What the Cancel button of Prefect's dashboard does to a run, happens to the job."""
    job_id = daemon.submit(jobs.write([jobs.act("x", gate=tmp_path / "never")]))
    watch = daemon.watch(job_id)
    watch.until("entry_progress")
    flow_run = daemon.get(job_id)["flow_run_id"]
    # The same call as the button's.
    daemon.prefect(f"/flow_runs/{flow_run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"}, force=True)
    assert watch.end() == 3
    assert living(job_id) == []
    assert daemon.final_run(job_id, tasks=1)["state_type"] == "CANCELLED"


def told(job: dict) -> dict:
    """Leave out what changes by itself when Prefect's record of an ended job has been compared."""
    return {key: value for key, value in job.items() if key != "recorded"}


def test_cancelling_again_changes_nothing(daemon, jobs, tmp_path):
    """A second cancel, and a cancel of a job that has succeeded, are no errors and no events."""
    job_id = daemon.submit(jobs.write([jobs.act("x", gate=tmp_path / "never")]))
    watch = daemon.watch(job_id)
    watch.until("entry_started")
    assert [daemon.jobctl("cancel", job_id).code for _ in range(3)] == [0, 0, 0]
    assert watch.end() == 3
    assert len(watch.of("job_cancelling")) == 1
    before = told(daemon.get(job_id))
    assert daemon.jobctl("cancel", job_id).code == 0
    assert told(daemon.get(job_id)) == before

    finished = daemon.submit(jobs.write([jobs.act("x", public=True)]), "--wait")
    before = told(daemon.get(finished))
    assert daemon.jobctl("cancel", finished).code == 0
    assert told(daemon.get(finished)) == before


def test_a_cancel_reaches_an_entry_between_two_attempts(daemon, jobs, tmp_path):
    """A retrying entry is not tried again."""
    entry = jobs.act("x", ledger=tmp_path / "ledger", failures=99, retries=50)
    job_id = daemon.submit(jobs.write([entry]))
    watch = daemon.watch(job_id)
    watch.until("entry_retrying", attempt=3)
    daemon.jobctl("cancel", job_id)
    assert watch.end() == 3
    started = len(watch.of("entry_started"))
    assert len((tmp_path / "ledger").read_text().splitlines()) == started
