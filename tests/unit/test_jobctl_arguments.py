"""The command line before any daemon is asked."""

import subprocess
import sys

import jobctl
import pytest
from jobapi.v1 import job_service_pb2
from jobctl.__main__ import find_command, main
from jobctl.client import Client
from jobctl.errors import UsageError
from jobctl.exit_codes import ExitCode
from jobctl.job_file import find_inputs
from jobctl.parser import parse

COMMANDS = (
    "submit", "watch", "wait", "cancel", "retry", "delete", "get", "list", "explain", "logs", "download", "modules",
    "validate", "open", "ping", "context",
)  # fmt: skip


HELP = """
import sys
from jobctl.__main__ import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""


def run_and_find(script, *names):
    """Run a script in an interpreter of its own; give which of these modules it imported, and what it printed."""
    script += f"\nimport sys; sys.stderr.write(' '.join({set(names)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return done.stderr, done.stdout


def test_help_imports_nothing_heavy():
    """`jobctl --help` is quick because gRPC, rich and protobuf stay out, and it names every command."""
    found, printed = run_and_find(
        HELP, "grpc", "rich", "google.protobuf", "jobapi", "asyncio", "prefect", "json", "uuid", "importlib.metadata"
    )

    assert found == ""
    assert all(command in printed for command in COMMANDS)


def test_the_client_needs_nothing_of_the_daemon():
    """`import jobctl` loads next to nothing, and its client nothing that only the daemon's extra installs."""
    daemons = ("jobd", "prefect", "sqlalchemy", "alembic", "yaml", "pydantic", "structlog", "httpx")

    assert run_and_find("import jobctl", "grpc", "google.protobuf", "jobapi", *daemons)[0] == ""
    assert run_and_find("import jobctl, jobctl.client; jobctl.Client", "grpc", *daemons)[0] == "grpc"
    every_module = "import importlib, pkgutil, jobctl\nfor item in pkgutil.iter_modules(jobctl.__path__):\n"
    every_module += "    item.name == '__main__' or importlib.import_module('jobctl.' + item.name)"
    assert run_and_find(every_module, *daemons)[0] == ""


def test_the_tools_for_authors_take_no_options_of_a_daemon(capsys):
    """What stands before `module` is refused, not passed over."""
    assert main(["--address", "unix:/s", "module", "check", "."]) == ExitCode.USAGE
    assert "leave them out" in capsys.readouterr().err


def test_the_package_gives_its_client_and_its_errors():
    """`from jobctl import Client, JobctlError` are the classes themselves; other names are not there."""
    assert jobctl.Client is Client
    assert issubclass(UsageError, jobctl.JobctlError)
    with pytest.raises(AttributeError, match="Cleint"):
        _ = jobctl.Cleint


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_a_function(command, capsys):
    """Each command explains itself and can be imported."""
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"jobctl {command}" in capsys.readouterr().out
    operands = {"list": [], "modules": [], "ping": [], "context": ["use", "x"]}.get(command, ["x"])
    assert callable(find_command(parse([command, *operands]).command))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nosuch",
        "submit",
        "submit a --watch --wait",
        "submit a --wat",
        "watch x --after -1",
        "watch x --timeout 0",
        "watch x --timeout inf",
        "watch x -o yaml",
        "list -o text",
        "wait",
        "delete",
        "retry x y",
        "retry x --watch --wait",
        "retry x --dry-run",
        "logs x --tail -1",
        "list --state odd",
        "list --limit -3",
        "submit a --priority high",
        "submit a --priority 1001",
        "logs x --tail 2147483648",
        "watch x --after 9223372036854775808",
        "--addr h:1 ping",
        "watch @args b",
    ],
)
def test_a_bad_command_line_ends_with_two(line, capsys):
    """Unknown, abbreviated, contradictory and impossible arguments are refused."""
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert "usage: jobctl" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["submit", "f", "--timeout", "3"],
        ["submit", "f", "--label", "x"],
        ["submit", "f", "g", "--watch"],
        ["submit", "f", "g", "--request-id", "mine"],
        ["submit", "-", "-"],
        ["retry", "x", "--timeout", "3"],
        ["list", "--watch", "-o", "yaml"],
        ["explain", "x", "/e", "--address", "h:1"],
        ["--address", "x", "ping"],
        ["logs", "x", "/e", "--address", "h:1"],
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_two(argv, capsys):
    """What the grammar cannot see is a usage error as well."""
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("jobctl: ")


def test_global_options_stand_before_or_after_the_command():
    """Both places work, and neither undoes the other."""
    assert parse(["--address", "h:1", "ping"]).address == "h:1"
    assert parse(["ping", "--address", "h:1"]).address == "h:1"
    assert parse(["--no-color", "ping"]).no_color
    assert None is parse(["ping"]).address


def test_version_is_told(capsys):
    """`--version` names the program."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("jobctl ")


def test_exit_codes_keep_their_meaning():
    """Scripts rely on these numbers."""
    expected = {
        "SUCCEEDED": 0, "FAILED": 1, "USAGE": 2, "CANCELLED": 3, "NOT_ALLOWED": 4, "UNREACHABLE": 5, "NOT_FOUND": 6,
        "INVALID_JOB": 7, "TIMED_OUT": 124, "INTERRUPTED": 130, "BROKEN_PIPE": 141,
    }  # fmt: skip
    assert expected == {code.name: code.value for code in ExitCode}


def test_inputs_are_matched_by_parameter_and_by_name(tmp_path):
    """A parameter that several inputs share has to be given by name."""
    wanted = [
        job_service_pb2.PlanInput(param_name="input", name="left.mp4", artifact_names=["left.mp4"]),
        job_service_pb2.PlanInput(param_name="input", name="right.mp4", artifact_names=["../secret"]),
        job_service_pb2.PlanInput(param_name="style", artifact_names=["style.json"]),
    ]
    for name in ("a", "left.mp4", "../secret"):
        (tmp_path / "jobs" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "jobs" / name).write_text("x")

    found = find_inputs(wanted, [f"style={tmp_path}/jobs/a"], tmp_path / "jobs")
    assert [tmp_path / "jobs" / "left.mp4", None, tmp_path / "jobs" / "a"] == [item.path for item in found]
    for options in (["input=a"], ["style"], ["=a"], [f"style={tmp_path}", f"style={tmp_path}"]):
        with pytest.raises(UsageError):
            find_inputs(wanted, options, tmp_path)
