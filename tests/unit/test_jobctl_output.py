"""What jobctl writes: plain lines, pictures, tables, JSON, errors; all of it safe for a terminal."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from jobapi.v1 import job_pb2
from jobctl.frame import Frame
from jobctl.job_view import JobView
from jobctl.json_output import dump_line, event_to_json, to_json
from jobctl.plain import PlainDisplay, format_event
from jobctl.states import is_terminal, job_state_name, parse_job_state
from jobctl.summary import summarize
from jobctl.tables import format_table
from jobctl.terminal import escape, escape_bytes

HOSTILE = "a\x1b[2J\u202eb\x9b\nc\x00"
SAFE = r"a\x1b[2J\u202eb\x9b\x0ac\x00"
KINDS = [field.name for field in job_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields]


def make_event(kind, sequence=1, **fields):
    """Make an event of a kind."""
    event = job_pb2.Event(sequence=sequence, job_id="j1")
    event.time.FromSeconds(1_790_000_000)
    change = getattr(event, kind)
    change.SetInParent()
    for name, value in fields.items():
        if isinstance(value, dict):
            getattr(change, name).CopyFrom(job_pb2.Failure(**value))
        else:
            setattr(change, name, value)
    return event


def make_job(entries=3, steps=2):
    """Make a running job."""
    job = job_pb2.Job(id="j1", name="demo", state="JOB_STATE_RUNNING", last_sequence=1)
    for step in range(steps):
        added = job.steps.add(name=f"s{step}")
        for entry in range(entries):
            added.entries.add(name=f"e{entry}", module="m", state="ENTRY_STATE_PENDING")
    job.artifacts.add(name="out.wav", public=True, state="ARTIFACT_STATE_PENDING")
    return job


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_is_one_known_plain_line(kind):
    """No kind on the wire is unknown to the plain output, and each is one line."""
    line = format_event(make_event(kind))

    assert len(line.splitlines()) == 1
    assert "does not know" not in line


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (make_event("job_waiting", reason="Prefect is starting"), "job  waiting: Prefect is starting"),
        (make_event("entry_started", step="a", entry="b", attempt=2, pid=7), "a/b  started, attempt 2, pid 7"),
        (make_event("entry_progress", step="a", entry="b", percent=41.6, status="x"), "a/b  42 %, x"),
        (
            make_event("entry_failed", step="a", entry="b", failure={"message": "exit code 1"}),
            "a/b  failed: exit code 1",
        ),
        (make_event("step_succeeded", step="a"), "a  succeeded"),
        (make_event("artifact_published", name="x.wav", size_bytes=2048), "x.wav  is ready (2.0 KiB)"),
        (make_event("artifact_removed", name="x.wav", reason="last use"), "x.wav  removed: last use"),
        (
            make_event("entry_reused", step="a", entry="b", job_id="j0"),
            "a/b  need not run: it succeeded in job j0",
        ),
        (make_event("entry_skipped", step="a", entry=HOSTILE, reason=HOSTILE), f"a/{SAFE}  skipped: {SAFE}"),
    ],
)
def test_plain_lines_say_where_and_what(event, expected):
    """After the time come the place and the change, with nothing that moves a cursor."""
    assert expected == format_event(event).partition("  ")[2]


def test_an_event_of_a_later_version_is_a_line_too():
    """A kind that is not known is told as such, and as JSON keeps its sequence."""
    event = job_pb2.Event(sequence=4)

    assert "does not know" in format_event(event)
    assert (event_to_json(event)["type"], event_to_json(event)["sequence"]) == ("unknown", 4)


def test_progress_is_thinned_in_plain_lines():
    """Of a hundred percentages ten or so are printed, and every status text."""
    stream = io.StringIO()
    display = PlainDisplay(stream)
    for percent in range(101):
        display.show_event(make_event("entry_progress", step="a", entry="b", percent=percent))
    display.show_event(make_event("entry_progress", step="a", entry="b", status="closing"))

    assert len(stream.getvalue().splitlines()) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_json_of_an_event_has_its_type_and_its_own_names(kind):
    """Each event is one line of ASCII with the kind as type and as key."""
    data = json.loads(dump_line(event_to_json(make_event(kind, sequence=2**40))))

    assert (kind, 2**40, "j1") == (data["type"], data["sequence"], data["job_id"])
    assert isinstance(data[kind], dict)


def test_json_of_a_job_has_numbers_defaults_and_no_terminal_codes():
    """64-bit integers are numbers, defaults are there, labels stay text, hostile names are escaped."""
    job = make_job()
    job.artifacts[0].size_bytes = 5
    job.labels["last_sequence"] = HOSTILE
    text = dump_line(to_json(job))
    data = json.loads(text)

    assert (data["artifacts"][0]["size_bytes"], data["last_sequence"], data["ended_entry_count"]) == (5, 1, 0)
    assert data["labels"]["last_sequence"] == HOSTILE
    assert "\x1b" not in text
    assert text.isascii()


def test_what_could_move_the_cursor_is_shown_escaped():
    """Control and bidirectional characters are visible; other text is left alone; bytes may be anything."""
    assert escape(HOSTILE) == SAFE
    assert escape("tab\t, ünïcode, 日本") == "tab\t, ünïcode, 日本"
    assert escape_bytes(b"\xff\x1b[0m") == r"\xff\x1b[0m"
    assert format_table([("A\x1b", "B"), ("c", "d")]) == [r"A\x1b  B", "c      d"]


def test_events_fold_to_the_jobs_state():
    """The view follows starts, retries, ends and artifacts, and ignores what its snapshot reflects already."""
    view = JobView()
    view.reset(make_job())
    place = {"step": "s0", "entry": "e0"}
    view.apply(make_event("job_failed", sequence=1))
    view.apply(make_event("entry_started", sequence=2, attempt=1, **place))
    view.apply(make_event("entry_progress", sequence=3, percent=50.0, status="half", **place))
    entry = view.job.steps[0].entries[0]
    assert (entry.state, entry.progress_percent, entry.status) == (job_pb2.ENTRY_STATE_RUNNING, 50.0, "half")
    view.apply(make_event("entry_retrying", sequence=4, failure={"message": "no"}, **place))
    assert entry.failure.message == "no"
    view.apply(make_event("entry_started", sequence=5, attempt=2, **place))
    assert (entry.attempt, entry.HasField("failure"), entry.HasField("progress_percent")) == (2, False, False)
    view.apply(make_event("entry_succeeded", sequence=6, attempt=2, **place))
    view.apply(make_event("artifact_published", sequence=7, name="out.wav", size_bytes=9))
    view.apply(make_event("entry_skipped", sequence=8, step="nosuch", entry="e0"))
    assert (entry.state, view.job.artifacts[0].size_bytes) == (job_pb2.ENTRY_STATE_SUCCEEDED, 9)
    assert view.job.state == job_pb2.JOB_STATE_RUNNING
    view.apply(make_event("job_cancelled", sequence=9, reason="by hand"))
    assert (view.job.state, view.job.reason, view.job.last_sequence) == (job_pb2.JOB_STATE_CANCELLED, "by hand", 9)


@pytest.mark.parametrize(("steps", "entries"), [(1, 1), (3, 4), (2, 500), (300, 2), (1, 10_000)])
def test_a_picture_fits_its_screen(steps, entries):
    """Whatever the size of the job, the lines fit, and what runs and failed is among them."""
    job = make_job(entries=entries, steps=steps)
    job.steps[-1].entries[-1].state = job_pb2.ENTRY_STATE_FAILED
    job.steps[-1].entries[-1].failure.message = "exit code 9"
    lines = Frame(job=job, now=datetime.now(UTC), height=20).draw()

    assert len(lines) <= 20
    assert any("exit code 9" in line.plain for line in lines)


@pytest.mark.parametrize(("columns", "bar", "name"), [(36, 0, 10), (50, 15, 10), (80, 20, 32), (160, 20, 32)])
def test_a_picture_shrinks_its_names_and_bars_before_it_cuts_texts(columns, bar, name):
    """How far a running entry is stands within the screen, however narrow; a very small bar is left out."""
    job = make_job(entries=1, steps=1)
    entry = job.steps[0].entries[0]
    entry.name, entry.state, entry.progress_percent = "x" * 40, job_pb2.ENTRY_STATE_RUNNING, 50.0
    lines = [line.plain for line in Frame(job=job, now=datetime.now(UTC), columns=columns).draw()]
    [line] = [line for line in lines if "50 %" in line]

    assert line.index("50 %") + 4 <= columns
    assert line.count("\N{BOX DRAWINGS HEAVY HORIZONTAL}") == bar
    assert line.count("x") == name - 1


def test_a_picture_shows_bars_times_and_the_last_log_lines():
    """A running entry has its bar and elapsed time, a failed one its last lines, all of it escaped."""
    view = JobView()
    view.reset(make_job(entries=2, steps=1))
    view.apply(make_event("entry_started", sequence=2, step="s0", entry="e0", attempt=1))
    view.apply(make_event("entry_progress", sequence=3, step="s0", entry="e0", percent=42.0, status=HOSTILE))
    failure = {"message": "exit code 1", "log_tail": [HOSTILE]}
    view.apply(make_event("entry_failed", sequence=4, step="s0", entry="e1", failure=failure))
    now = datetime.fromtimestamp(1_790_000_000, UTC) + timedelta(seconds=75)
    text = "\n".join(line.plain for line in Frame(job=view.job, now=now).draw())

    assert "42 %" in text
    assert "1:15" in text
    assert f"| {SAFE}" in text
    assert SAFE in text.splitlines()[2]
    assert "\x1b" not in text


def test_a_summary_says_why_and_how_to_go_on():
    """A failed job names the entry, its last lines, its log and the results there are."""
    job = make_job()
    job.state = job_pb2.JOB_STATE_FAILED
    job.steps[0].entries[0].state = job_pb2.ENTRY_STATE_FAILED
    job.failure.CopyFrom(job_pb2.Failure(message="exit code 1", step="s0", entry="e0", log_tail=["boom"]))
    job.artifacts[0].state = job_pb2.ARTIFACT_STATE_PRESENT
    job.dashboard_url = "http://h/1"

    assert summarize(job) == [
        "FAILED: 0 of 6 entries succeeded",
        "s0/e0: exit code 1",
        "  | boom",
        "log: jobctl logs j1 s0/e0",
        "retry: jobctl retry j1",
        "results: jobctl download j1   (out.wav 0 B)",
        "dashboard: http://h/1",
    ]


def test_a_summary_names_entries_as_a_shell_takes_them():
    """The line that shows the log can be pasted, whatever the entry is called; a job without one gets its whole log."""
    job = job_pb2.Job(id="j1", state="JOB_STATE_FAILED", failure=job_pb2.Failure(step="cut it", entry="$(x)"))
    assert "log: jobctl logs j1 'cut it/$(x)'" in summarize(job)
    job.failure.CopyFrom(job_pb2.Failure(message="the runner died"))
    assert "log: jobctl logs j1" in summarize(job)
    job.ClearField("failure")
    job.state = job_pb2.JOB_STATE_CANCELLED
    assert summarize(job)[-1] == "retry: jobctl retry j1"


def test_the_lines_of_the_named_entry_are_told_once():
    """While a job runs a failed entry's lines stand in place; at its end those of the named one are in the summary."""
    job = make_job(entries=2, steps=1)
    for entry in job.steps[0].entries:
        entry.state = job_pb2.ENTRY_STATE_FAILED
        entry.failure.CopyFrom(job_pb2.Failure(step="s0", entry=entry.name, log_tail=[f"lines of {entry.name}"]))

    def draw():
        return "\n".join(line.plain for line in Frame(job=job, now=datetime.now(UTC)).draw())

    assert ("| lines of e0" in draw(), "| lines of e1" in draw()) == (True, True)
    job.state = job_pb2.JOB_STATE_FAILED
    job.failure.CopyFrom(job.steps[0].entries[0].failure)
    assert ("| lines of e0" in draw(), "| lines of e1" in draw()) == (False, True)
    assert "  | lines of e0" in summarize(job)


def test_a_state_of_a_later_version_is_not_terminal():
    """An unknown state has a name and is not the end."""
    assert not is_terminal(99)
    assert job_state_name(99) == "STATE 99"
    assert parse_job_state("queued") == job_pb2.JOB_STATE_QUEUED
