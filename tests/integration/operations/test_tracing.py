"""Traces as a collector gets them, decoded from the wire."""

import subprocess
import sys
from typing import Any

import pytest
import structlog

from jobd import events, tracing
from jobd.errors import ConfigError
from jobd.events import JobEvent, Occurrence
from jobd.jobs import Job, new_job
from jobd.layout import StateDirectory
from jobd.plan import Plan
from jobd.store import Acceptance, Store

pytestmark = pytest.mark.timeout(120)

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
ONE = {"step": "one", "entry": "a"}
RUN: tuple[JobEvent, ...] = (
    events.JobStarted(flow_run_id="run-1"),
    events.EntryWaiting(**ONE),
    events.EntryStarted(**ONE, attempt=1, pid=7),
    events.EntrySucceeded(**ONE, attempt=1),
    events.JobSucceeded(),
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what OpenTelemetry's own variables say here."""
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", *tracing._VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def plan(modules) -> Plan:
    """Give a plan of one entry."""
    return modules.plan(modules.entry("", step="one", name="a"))


def accept(store: Store, plan: Plan, state: StateDirectory, job_id: str) -> Job:
    """Have a job accepted at second 1000."""
    state.job(job_id).root.mkdir(parents=True)
    acceptance = Acceptance(
        job=new_job(job_id, plan, submitted=1000.0),
        plan=plan,
        document=b"name: example",
        request_id="",
        request_digest="d",
        first=(Occurrence(time=1000.0, event=events.JobSubmitted()),),
    )
    return store.accept(acceptance).result(30)[0]


def happen(store: Store, job_id: str, *happened: JobEvent, start: int = 0) -> Job:
    """Let things happen to a job a second apart, from second 1001 on."""
    occurrences = [Occurrence(time=1001.0 + number, event=event) for number, event in enumerate(happened, start)]
    return store.ingest(job_id, occurrences, start=start, end=start + len(happened)).result(30)


def begun(collector: Any, state: StateDirectory) -> tracing.Tracing:
    """Begin to trace to a collector."""
    made = tracing.begin(collector.url, state, structlog.get_logger())
    assert made is not None
    return made


def test_a_job_is_one_trace_with_the_call_that_submitted_it(collector, read_attributes, state, plan):
    """The call is in its caller's trace, the job below the call, the entry below the job, with their true times."""
    traced = begun(collector, state)
    store = Store(state.database, told=lambda job, _records: traced.tell(job))
    traced.read_from(store)
    call = traced.begin("jobapi.v1.JobService", "Submit", PARENT)
    assert call is not None
    accept(store, plan, state, "abc")
    call.accept("abc")
    call.end(0, "OK")
    happen(store, "abc", *RUN)
    traced.close()
    spans = collector.wait("jobapi.v1.JobService/Submit", "job example", "one/a")
    submit, job, entry = (spans[name] for name in ("jobapi.v1.JobService/Submit", "job example", "one/a"))
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert submit.parent_span_id.hex() == CALLER
    assert job.parent_span_id == submit.span_id
    assert entry.parent_span_id == job.span_id
    assert (job.start_time_unix_nano, job.end_time_unix_nano) == (1000 * 10**9, 1005 * 10**9)
    assert (entry.start_time_unix_nano, entry.end_time_unix_nano) == (1003 * 10**9, 1004 * 10**9)
    assert read_attributes(submit)["rpc.grpc.status_code"] == 0
    assert read_attributes(submit)["jobd.job.id"] == read_attributes(job)["jobd.job.id"] == "abc"
    assert read_attributes(entry)["jobd.entry.state"] == "succeeded"
    assert read_attributes(collector.resources[0])["service.name"] == "jobd"
    store.close()


def test_a_later_daemon_sends_the_whole_job(collector, state, plan):
    """What happened before the restart is in it too, and it still hangs below the call of that time."""
    first = begun(collector, state)
    store = Store(state.database)
    call = first.begin("jobapi.v1.JobService", "Submit", PARENT)
    assert call is not None
    accept(store, plan, state, "abc")
    call.accept("abc")
    call.end(0, "OK")
    happen(store, "abc", *RUN[:3])
    first.close()
    store.close()
    second = begun(collector, state)
    store = Store(state.database, told=lambda job, _records: second.tell(job))
    second.read_from(store)
    happen(store, "abc", *RUN[3:], start=3)
    second.close()
    spans = collector.wait("job example", "one/a")
    assert spans["job example"].trace_id.hex() == TRACE
    assert [event.name for event in spans["job example"].events] == ["started"]
    assert spans["one/a"].start_time_unix_nano == 1003 * 10**9
    store.close()


def test_a_failed_call_is_a_failed_span_and_probes_are_none(collector, state):
    """The code is told by number and name; a caller's metadata that is no trace begins a new one."""
    traced = begun(collector, state)
    assert traced.begin("grpc.health.v1.Health", "Check", {}) is None
    call = traced.begin("jobapi.v1.JobService", "Get", {"traceparent": "nonsense"})
    assert call is not None
    call.end(5, "NOT_FOUND")
    traced.close()
    span = collector.wait("jobapi.v1.JobService/Get")["jobapi.v1.JobService/Get"]
    assert (span.status.message, span.parent_span_id) == ("NOT_FOUND", b"")
    assert any(span.trace_id)


def test_more_entries_than_the_exporter_holds_are_all_sent(collector, state, modules, monkeypatch):
    """A job of many entries is not cut to what fits into one queue."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "300")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    names = [f"e{number}" for number in range(700)]
    plan = modules.plan(*(modules.entry("", step="one", name=name) for name in names))
    traced = begun(collector, state)
    store = Store(state.database, told=lambda job, _records: traced.tell(job))
    traced.read_from(store)
    accept(store, plan, state, "abc")
    of_entries = [
        event
        for name in names
        for event in (
            events.EntryWaiting(step="one", entry=name),
            events.EntryStarted(step="one", entry=name, attempt=1, pid=7),
            events.EntrySucceeded(step="one", entry=name, attempt=1),
        )
    ]
    happen(store, "abc", RUN[0], *of_entries, RUN[-1])
    collector.wait("job example", *(f"one/{name}" for name in names))
    traced.close()
    store.close()


def test_a_collector_that_hangs_holds_up_nobody(collector, state, plan):
    """Calls and jobs go on, and the end comes all the same."""
    collector.open.clear()
    traced = begun(collector, state)
    store = Store(state.database, told=lambda job, _records: traced.tell(job))
    traced.read_from(store)
    for number in range(20):
        accept(store, plan, state, f"job{number}")
        happen(store, f"job{number}", *RUN)
    traced.close()
    assert collector.spans == []
    store.close()


def test_a_deleted_job_is_no_trouble(collector, state, plan):
    """One that is gone before its spans are made costs the next none of its own, and no file is made for it."""
    traced = begun(collector, state)
    store = Store(state.database)
    traced.read_from(store)
    gone, there = accept(store, plan, state, "gone"), accept(store, plan, state, "there")
    ended = [happen(store, job.id, *RUN) for job in (gone, there)]
    store.delete("gone").result(30)
    state.job("gone").root.rmdir()
    call = traced.begin("jobapi.v1.JobService", "Submit", {})
    assert call is not None
    call.accept("gone")
    for job in ended:
        traced.tell(job)
    traced.close()
    collector.wait("job example", "one/a")
    assert not state.job("gone").root.exists()
    store.close()


def test_tracing_is_off_unless_it_is_asked_for(state, monkeypatch: pytest.MonkeyPatch):
    """Nothing is imported without a wish, and OpenTelemetry's own switches are heeded."""
    log = structlog.get_logger()
    assert tracing.begin("", state, log) is None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.begin("http://127.0.0.1:1", state, log) is None
    script = "import sys, jobd.daemon; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_without_the_extra_it_says_what_to_install(state, monkeypatch: pytest.MonkeyPatch):
    """The option is refused with what is missing; a variable that may be meant for others is only told of."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    log = structlog.get_logger()
    with pytest.raises(ConfigError, match=r"extra \[tracing\]"):
        tracing.begin("http://127.0.0.1:1", state, log)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with structlog.testing.capture_logs() as logged:
        assert tracing.begin("", state, structlog.get_logger()) is None
    assert [line["event"] for line in logged] == ["tracing_not_installed"]


def test_a_collector_that_is_away_is_told_of_once_a_minute(state: StateDirectory, monkeypatch: pytest.MonkeyPatch):
    """Its trouble is in the daemon's log as an event of it, not as loose text, and not for every batch."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with structlog.testing.capture_logs() as logged:
        traced = tracing.begin("http://127.0.0.1:1", state, structlog.get_logger())
        assert traced is not None
        for _ in range(3):
            call = traced.begin("jobapi.v1.JobService", "Get", {})
            assert call is not None
            call.end(0, "OK")
            traced._provider.force_flush(1000)
        traced.close()
    assert [line["event"] for line in logged if line["log_level"] == "warning"] == ["tracing_trouble"]
