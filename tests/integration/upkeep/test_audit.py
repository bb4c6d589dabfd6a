"""The audit log: who asked for what, and what came of it, in lines that nobody can forge."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from structlog.testing import LogCapture

from jobd.audit import AuditLog
from jobd.errors import ForbiddenError, JobNotFoundError, UnauthenticatedError

SERVICE = "/jobapi.v1.JobService/"


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    """Give an audit log that is not there yet."""
    return AuditLog(tmp_path / "audit.jsonl", log=structlog.get_logger(), now=lambda: 1000.5)


def lines(tmp_path: Path, name: str = "audit.jsonl") -> list[dict[str, str]]:
    """Read a log."""
    return [json.loads(line) for line in (tmp_path / name).read_bytes().splitlines()]


def test_a_call_that_changes_something_is_written_down(audit: AuditLog, tmp_path: Path):
    """A line tells when, what, from where, which job by the client's word and by its id, and the result."""
    answer = SimpleNamespace(job=SimpleNamespace(id="abcdefgh"))
    asked = SimpleNamespace(id="@latest", reason="too loud")
    audit.note(method=SERVICE + "Cancel", peer="unix:", who="local", asked=asked, answer=answer)
    assert lines(tmp_path) == [
        {
            "time": "1970-01-01T00:16:40.500+00:00",
            "method": SERVICE + "Cancel",
            "peer": "unix:",
            "who": "local",
            "asked": "@latest",
            "job": "abcdefgh",
            "upload": "",
            "result": "ok",
            "reason": "too loud",
            "left_out": 0,
        }
    ]


@pytest.mark.parametrize("method", ["Submit", "Cancel", "Retry", "Delete", "Upload"])
def test_a_change_that_was_refused_is_written_down(audit: AuditLog, tmp_path: Path, method: str):
    """The result is the error's code, the reason its text."""
    audit.note(method=SERVICE + method, peer="ipv4:127.0.0.1:9", error=JobNotFoundError("there is no job 'x'"))
    assert [(line["result"], line["reason"]) for line in lines(tmp_path)] == [("JOB_NOT_FOUND", "there is no job 'x'")]


def test_a_bug_is_a_result_too(audit: AuditLog, tmp_path: Path):
    """An error that is none of ours stands there as INTERNAL."""
    audit.note(method=SERVICE + "Submit", peer="unix:", error=ZeroDivisionError("division by zero"))
    assert lines(tmp_path)[0]["result"] == "INTERNAL"


def test_questions_are_not_written_down_unless_denied(audit: AuditLog, tmp_path: Path):
    """Get leaves no line, also when it fails; a Get without a token or a right does."""
    audit.note(method=SERVICE + "Get", peer="unix:")
    audit.note(method=SERVICE + "Get", peer="unix:", error=JobNotFoundError())
    assert not (tmp_path / "audit.jsonl").exists()
    audit.note(method=SERVICE + "Get", peer="ipv4:9.9.9.9:1", error=UnauthenticatedError())
    audit.note(method=SERVICE + "Watch", peer="ipv4:9.9.9.9:1", error=ForbiddenError())
    assert [line["result"] for line in lines(tmp_path)] == ["UNAUTHENTICATED", "FORBIDDEN"]


@pytest.mark.parametrize("text", ['a\n{"result": "ok"}', "a\r\x1b[2J", "a\u2028b", "\x00", "é" * 3000])
def test_a_client_cannot_write_a_line_of_its_own(audit: AuditLog, tmp_path: Path, text: str):
    """Whatever a client sends stays in its place, in plain ASCII, cut at a bound."""
    audit.note(method=SERVICE + "Cancel", peer="unix:", asked=SimpleNamespace(id=text, reason=text))
    (line,) = lines(tmp_path)
    assert line["asked"] == line["reason"] == (text if len(text) < 1000 else "é" * 1000 + "…")
    assert (tmp_path / "audit.jsonl").read_bytes().isascii()


def test_the_file_is_closed_to_others(audit: AuditLog, tmp_path: Path):
    """Only its owner may read or write it."""
    audit.note(method=SERVICE + "Submit", peer="unix:")
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_a_torn_line_takes_no_other_along(audit: AuditLog, tmp_path: Path):
    """After a crash in the middle of a line the next one begins on its own."""
    (tmp_path / "audit.jsonl").write_bytes(b'{"time": "19')
    audit.note(method=SERVICE + "Submit", peer="unix:")
    torn, whole = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert torn == b'{"time": "19'
    assert json.loads(whole)["method"] == SERVICE + "Submit"


def test_full_files_are_kept_up_to_a_number(tmp_path: Path):
    """No file grows beyond the bound, the stated number of full ones stays, and only the oldest lines are gone."""
    audit = AuditLog(tmp_path / "audit.jsonl", log=structlog.get_logger(), most_bytes=1000, keep=2)
    for number in range(40):
        audit.note(method=SERVICE + "Cancel", peer="unix:", asked=SimpleNamespace(id=f"{number:02}"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    kept = [line["asked"] for name in reversed(names) for line in lines(tmp_path, name)]
    assert kept == [f"{number:02}" for number in range(40 - len(kept), 40)]
    assert len(kept) > 8


def test_many_calls_at_once_leave_whole_lines(audit: AuditLog, tmp_path: Path):
    """Every call of eight threads has its line."""
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: audit.note(method="/x/Cancel", peer="unix:", asked=SimpleNamespace(id=str(number))),
                range(200),
            )
        )
    assert sorted(int(line["asked"]) for line in lines(tmp_path)) == list(range(200))


def test_a_line_that_cannot_be_written_goes_to_the_log(tmp_path: Path, logged: LogCapture):
    """The call is not disturbed, and what it was is not lost."""
    audit = AuditLog(tmp_path / "missing" / "audit.jsonl", log=structlog.get_logger())
    audit.note(method=SERVICE + "Cancel", peer="unix:", asked=SimpleNamespace(id="abc"))
    (entry,) = logged.entries
    assert (entry["event"], entry["log_level"], entry["asked"]) == ("audit_not_written", "error", "abc")
