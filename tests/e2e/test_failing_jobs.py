"""Jobs that fail: what is told, what is kept, and what another attempt mends."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def states(job) -> dict[str, str]:
    """Give the state of every entry of a job."""
    return {
        f"{step['name']}/{entry['name']}": entry["state"].removeprefix("ENTRY_STATE_")
        for step in job["steps"]
        for entry in step["entries"]
    }


def test_a_failing_module_fails_the_job_and_says_why(daemon, jobs, tmp_path):
    """Exit code 1, the module's own reason and its last log lines; siblings finish, later steps are skipped."""
    ledger, sibling = tmp_path / "ledger", tmp_path / "sibling"
    reason = "the moon is full"
    steps = (
        [jobs.act("whole")],
        [
            jobs.act("broken", "whole", name="bad", ledger=ledger, failures=9, reason=reason, gate=sibling),
            jobs.act("fine", "whole", name="good", ledger=sibling),
        ],
        [jobs.act("never", "broken", "fine", name="late", public=True)],
    )
    done = daemon.jobctl("submit", jobs.write(*steps), "--watch")
    assert done.code == 1
    job_id = done.out.strip()
    assert "step2/bad: the moon is full" in done.err
    assert "  | the module speaks, attempt 1" in done.err
    assert "  | a complaint" in done.err

    job = daemon.get(job_id)
    assert job["state"] == "JOB_STATE_FAILED"
    assert job["failure"]["kind"] == "FAILURE_KIND_MODULE"
    assert (job["failure"]["step"], job["failure"]["entry"], job["failure"]["exit_code"]) == ("step2", "bad", 9)
    expected = {"step1/act": "SUCCEEDED", "step2/bad": "FAILED", "step2/good": "SUCCEEDED", "step3/late": "SKIPPED"}
    assert states(job) == expected
    kept = sorted(path.name for path in (daemon.state / "jobs" / job_id / "artifacts").iterdir())
    assert kept == ["fine", "whole"]
    assert ledger.read_text().count("\n") == 1

    run = daemon.final_run(job_id, tasks=3)
    assert run["state_type"] == "FAILED"
    shown = {task["name"]: task["state_type"] for task in run["tasks"]}
    assert shown == {"step1/act": "COMPLETED", "step2/bad": "FAILED", "step2/good": "COMPLETED"}


def test_a_module_without_a_reason_fails_with_its_exit_code(daemon, jobs, tmp_path):
    """Without a word of the module, the code is what is told."""
    done = daemon.jobctl("submit", jobs.write([jobs.act("x", ledger=tmp_path / "l", failures=1)]), "--watch")
    assert done.code == 1
    assert "it exited with code 9" in done.err


def test_a_corrupt_video_fails_with_the_module_s_reason(daemon, sample, tmp_path):
    """The job is FAILED, the reason is for people, and the daemon serves on."""
    (tmp_path / "broken.mp4").write_bytes(sample.read_bytes()[:1000] + bytes(5000))
    for example, param in (("minimal.yaml", "input"), ("media_report.yaml", "video")):
        job = ROOT / "examples" / example
        done = daemon.jobctl("submit", job, f"--input={param}={tmp_path}/broken.mp4", "--watch")
        assert done.code == 1
        failure = daemon.get(done.out.strip())["failure"]
        assert failure["kind"] == "FAILURE_KIND_MODULE"
        assert "video.mp4" in failure["message"]
        assert "Traceback" not in done.err
    assert daemon.jobctl("ping").code == 0


def test_a_retried_entry_succeeds_at_last(daemon, jobs, tmp_path):
    """An entry with retries is tried again; each attempt has its own log, and the failures are told."""
    entry = jobs.act("x", ledger=tmp_path / "ledger", failures=1, reason="not yet", retries=2, public=True)
    job_id = daemon.submit(jobs.write([entry]), "--wait")
    attempts = [line.split()[:2] for line in (tmp_path / "ledger").read_text().splitlines()]
    assert attempts == [["act", "1"], ["act", "2"]]
    watch = daemon.watch(job_id)
    assert watch.end() == 0
    (retrying,) = watch.of("entry_retrying")
    assert retrying["failure"]["message"] == "not yet"
    assert "attempt 1" in daemon.jobctl("logs", job_id, "step1/act", "--attempt", 1).out
    assert "attempt 2" in daemon.jobctl("logs", job_id, "step1/act").out
    assert daemon.final_run(job_id, tasks=1)["state_type"] == "COMPLETED"


def test_an_entry_that_runs_too_long_is_ended(daemon, jobs, tmp_path, living):
    """A timeout fails the entry, also one that does not listen, and leaves nothing of it running."""
    entry = jobs.act("x", gate=tmp_path / "never", stubborn=True, offspring=True, timeout="1s")
    done = daemon.jobctl("submit", jobs.write([entry]), "--watch")
    assert done.code == 1
    job = daemon.get(done.out.strip())
    assert job["failure"]["kind"] == "FAILURE_KIND_TIMEOUT"
    assert "timeout of 1 s" in done.err
    assert living(job["id"]) == []


@pytest.mark.parametrize("how", ["missing", "link"])
def test_an_output_that_is_not_whole_fails_the_entry(daemon, jobs, how):
    """Exit code 0 without the output, or with a link that leads out, is a failure, and nothing is published."""
    folder = daemon.modules / how
    folder.mkdir()
    link = "import os, sys; os.symlink('/etc/passwd', sys.argv[sys.argv.index('--output') + 1])"
    (folder / "main.py").write_text("" if how == "missing" else link)
    (folder / "manifest.yaml").write_text(
        f"name: {how}\ndescription: x\nentrypoint: main.py\noutputs: [{{param_name: output, type: data}}]\n"
    )
    entry = jobs.act("x", public=True) | {"module": how}
    done = daemon.jobctl("submit", jobs.write([entry]), "--watch")
    assert done.code == 1, done.err
    kind = daemon.get(done.out.strip())["failure"]["kind"]
    assert kind == {"missing": "FAILURE_KIND_MISSING_OUTPUT", "link": "FAILURE_KIND_INVALID_OUTPUT"}[how]
    assert daemon.jobctl("download", done.out.strip()).code == 6
