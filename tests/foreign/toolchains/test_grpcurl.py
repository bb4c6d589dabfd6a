"""grpcurl, which knows nothing but what the daemon's reflection tells it."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)  # the first build fetches what it needs

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.split(r"\n(?=grpcurl )", "".join(BLOCK.findall((ROOT / "docs/api.md").read_text())).strip())
ANSWERS = {
    "list": "jobapi.v1.JobService",
    "describe jobapi.v1.JobService": "( .jobapi.v1.WatchRequest ) returns ( stream .jobapi.v1.WatchResponse )",
    "describe jobapi.v1.WatchRequest": "int64 after_sequence = 2",
    "grpc.health.v1.Health/Check": '"SERVING"',
    "jobapi.v1.ServerService/GetServerInfo": '"max_message_bytes": "4194304"',
    "jobapi.v1.ModuleService/ListModules": '"param_name": "output"',
    "jobapi.v1.JobService/Submit": '"name": "example_job"',
    "jobapi.v1.JobService/Watch": '"job_succeeded": {}',
    "jobapi.v1.JobService/Logs": "",
    "jobapi.v1.JobService/List": '"JOB_STATE_SUCCEEDED"',
    "jobapi.v1.ArtifactService/Download": '"sha256": "',
    "jobapi.v1.JobService/Cancel": '"JOB_STATE_SUCCEEDED"',
}
"""What each command of the documentation answers with, by the command's last words."""


@pytest.fixture
def env(workshop: Any, daemon: Any, sample: Path) -> dict[str, str]:
    """What the commands of the documentation count on."""
    workshop.require("go", "bash", "base64")
    env: dict[str, str] = daemon.env
    return env | {
        "PATH": f"{workshop.grpcurl().parent}:{os.environ['PATH']}",
        "HOST": daemon.address,
        "AUTH": f"authorization: Bearer {daemon.token_file.read_text().strip()}",
        "VIDEO": str(sample),
    }


def run(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the documentation as it stands."""
    words = ["bash", "-c", command]
    return subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_every_command_of_the_documentation_answers(env: dict[str, str]) -> None:
    """What docs/api.md tells to type works as it stands, one command after the other."""
    called = set()
    for command in COMMANDS:
        name = command.rpartition("$HOST ")[2]
        done = run(command, env)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert ANSWERS[name] in done.stdout, command
        called.add(name)
    assert called == set(ANSWERS)


def test_a_resumed_watch_goes_on_after_the_sequence(env: dict[str, str]) -> None:
    """A watch after a sequence gives a snapshot and the events after it, and ends with OK when the job has ended."""
    (submit,) = (command for command in COMMANDS if command.endswith("/Submit"))
    watch, resumed = (command for command in COMMANDS if command.endswith("/Watch"))
    assert run(submit, env).returncode == 0
    whole = run(watch, env).stdout
    rest = run(resumed, env).stdout
    sequences = [int(number) for number in re.findall(r'"sequence": "(\d+)"', whole)]
    assert sequences == list(range(1, len(sequences) + 1))
    assert [int(number) for number in re.findall(r'"sequence": "(\d+)"', rest)] == sequences[2:]


def test_an_error_shows_its_reason(env: dict[str, str]) -> None:
    """A refused call shows status, reason and domain, and ends with grpcurl's exit code for NOT_FOUND."""
    done = run("""grpcurl -plaintext -H "$AUTH" -d '{"id": "nosuchjob"}' $HOST jobapi.v1.JobService/Get""", env)
    assert done.returncode == 64 + 5
    assert "Code: NotFound" in done.stderr
    assert re.search(r'"domain":\s*"jobd"', done.stderr)
    assert '"JOB_NOT_FOUND"' in done.stderr


def test_without_a_token_only_health_answers(env: dict[str, str]) -> None:
    """Calls and reflection ask for the token; a probe of the daemon's health does not."""
    done = run("grpcurl -plaintext $HOST list", env)
    assert done.returncode != 0
    assert "no token" in done.stderr
    probe = run('grpcurl -plaintext -reflect-header "$AUTH" $HOST grpc.health.v1.Health/Check', env)
    assert '"SERVING"' in probe.stdout, probe.stderr
