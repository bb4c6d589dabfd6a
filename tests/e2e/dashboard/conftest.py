"""A headless Chromium on Prefect's dashboard."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000
"""Milliseconds that the page may take to show what is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTaskRun:
    """A line in the list of task runs."""

    name: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFlowRun:
    """The page of a flow run."""

    name: str
    state: str
    task_runs: tuple[SeenTaskRun, ...]
    log: str
    """The text of the log as far as the page shows it."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A browser window on one server's dashboard."""

    page: Page
    ui_url: str
    strangers: list[str]
    """Every address outside the server that a page tried to reach."""

    def flow_run(self, flow_run_id: str, *, task_runs: int, state: str) -> SeenFlowRun:
        """Open a flow run, wait until it shows this many task runs and this state, and read the page.

        At most 20 task runs: the page holds no more of a longer list.
        """
        page = self.page
        page.goto(f"{self.ui_url}/runs/flow-run/{flow_run_id}")
        heading = page.locator(".page-heading-flow-run")
        expect(heading.locator(".state-badge")).to_have_text(state, timeout=PATIENCE)
        expect(heading.get_by_text(f"{task_runs} Task run")).to_be_visible(timeout=PATIENCE)
        name = page.locator(".page-heading .p-bread-crumbs").inner_text().split("\n")[-1]
        log = self._log()
        return SeenFlowRun(name=name, state=state, task_runs=self._task_runs(task_runs), log=log)

    def screenshot(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        self.page.screenshot(path=path)

    def _log(self) -> str:
        """Read the log tab, once it has a line."""
        self.page.locator(".p-tab", has_text="Logs").click()
        rows = self.page.locator(".log-row")
        expect(rows.first).to_be_visible(timeout=PATIENCE)
        return "\n".join(rows.all_inner_texts())

    def _task_runs(self, count: int) -> tuple[SeenTaskRun, ...]:
        """Read the list of task runs, once it is complete."""
        self.page.locator(".p-tab", has_text="Task Runs").click()
        lines = self.page.locator(".task-run-list-item")
        expect(lines).to_have_count(count, timeout=PATIENCE)
        return tuple(
            SeenTaskRun(
                name=line.locator(".task-run-list-item__breadcrumbs").inner_text(),
                state=line.locator(".state-badge").inner_text(),
            )
            for line in lines.all()
        )


@pytest.fixture
def dashboard(daemon) -> Iterator[Dashboard]:
    """A browser window on the daemon's dashboard, which may reach nothing but the daemon's own server."""
    if not Path(CHROMIUM).exists():
        assert os.environ.get("CI") != "true", "the CI needs Debian's package chromium"
        pytest.skip("Debian's package chromium is not installed")
    ui_url = daemon.dashboard
    strangers: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.on("request", lambda request: _note(request.url, ui_url, strangers))
            page.goto(daemon.jobctl("open", "--print").out.strip())
            yield Dashboard(page, ui_url, strangers)
        finally:
            browser.close()
    assert strangers == []


def _note(url: str, ui_url: str, strangers: list[str]) -> None:
    """Keep the addresses that are not the server's."""
    if not url.startswith((ui_url, "data:", "blob:")):
        strangers.append(url)
