"""What a person sees of a finished job in Prefect's dashboard."""

import pytest

pytestmark = pytest.mark.browser


def test_the_dashboard_shows_a_finished_job(dashboard, daemon, jobs, tmp_path):
    """The run's name and state, a line for each entry with its state, and the modules' log lines."""
    first = [jobs.act("a", name="left"), jobs.act("b", name="right")]
    job_id = daemon.submit(jobs.write(first, [jobs.act("c", "a", "b", public=True)], name="seen"), "--wait")
    run = daemon.final_run(job_id, tasks=3)
    dashboard.page.goto(daemon.jobctl("open", job_id).out.strip())
    dashboard.page.wait_for_url(f"{dashboard.ui_url}/runs/flow-run/{run['id']}")
    seen = dashboard.flow_run(run["id"], task_runs=3, state="Completed")
    assert seen.name == f"seen-{job_id[:8]}"
    shown = {(task.name, task.state) for task in seen.task_runs}
    assert shown == {(name, "Completed") for name in ("step1/left", "step1/right", "step2/act")}
    assert "the module speaks, attempt 1" in seen.log


def test_the_dashboard_asks_strangers_for_the_password(dashboard, daemon):
    """A browser that was not let in sees the login page and none of the runs."""
    with dashboard.page.context.browser.new_context() as stranger:
        page = stranger.new_page()
        page.goto(f"{dashboard.ui_url}/runs")
        page.wait_for_url(lambda url: url.startswith(f"{dashboard.ui_url}/login"))
        page.locator("input[type=password]").wait_for()


def test_the_dashboard_shows_how_a_job_failed(dashboard, daemon, jobs, tmp_path):
    """A failed entry is failed in the list, and its reason is in the log."""
    sibling = tmp_path / "sibling"  # written when it has begun: what has not when another fails is skipped
    bad = jobs.act("a", name="bad", ledger=tmp_path / "l", failures=1, reason="no luck", gate=sibling)
    entries = [bad, jobs.act("b", name="ok", ledger=sibling)]
    done = daemon.jobctl("submit", jobs.write(entries, name="unlucky"), "--wait")
    assert done.code == 1
    run = daemon.final_run(done.out.strip(), tasks=2)
    seen = dashboard.flow_run(run["id"], task_runs=2, state="Failed")
    assert {(task.name, task.state) for task in seen.task_runs} == {("step1/bad", "Failed"), ("step1/ok", "Completed")}
    assert "no luck" in seen.log
