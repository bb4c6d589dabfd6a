"""What a shell is offered for the word that is being typed, as far as no daemon is needed."""

import os
import subprocess
import sys

import pytest
from jobctl.__main__ import main
from jobctl.command_line import split_line
from jobctl.completion import find


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No daemon, and two contexts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "JOBCTL_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOBCTL_ADDRESS", f"unix:{tmp_path}/nobody")
    for name in ("farm", "home"):
        assert main(["context", "add", name, "--address", f"{name}:1"]) == 0


@pytest.mark.parametrize(
    ("words", "how", "found"),
    [
        (["wa"], "values", ["watch", "wait"]),
        (["--token-file", ""], "files", []),
        (["--no-color", "ca"], "values", ["cancel"]),
        (["--address", "unix:/s", "ca"], "values", ["cancel"]),
        (["list", "--sta"], "values", ["--state"]),
        (["list", "--state", "S"], "values", ["SUCCEEDED"]),
        (["list", "-o", ""], "values", ["table", "wide", "json", "yaml", "name"]),
        (["list", "--output=j"], "values", ["--output=json"]),
        (["list", "--watch", "--li"], "values", ["--limit"]),
        (["list", "--limit", "3"], "values", []),
        (["submit", ""], "files", []),
        (["submit", "a.yaml", "b"], "files", []),
        (["submit", "a.yaml", "--input", "video=/t"], "files", []),
        (["download", "x", "--to", ""], "dirs", []),
        (["context", ""], "values", ["list", "add", "use", "remove"]),
        (["context", "use", ""], "values", ["farm", "home"]),
        (["ping", "--context", "f"], "values", ["farm"]),
        (["ping", "--context=f"], "values", ["--context=farm"]),
        (["completion", ""], "values", ["bash", "zsh", "fish"]),
        (["completion", "bash", ""], "values", []),
        (["nonsense", ""], "values", []),
        (["submit", "--", "--wa"], "files", []),
        ([], "values", None),
    ],
)
def test_what_fits_is_offered(words, how, found):
    """Commands, options, their values, contexts, and where files are meant the shell's own."""
    offer = find(words)
    assert offer[0] == how
    assert found is None or found == [value for value, _ in offer[1]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", [""]),
        ("jobctl", ["jobctl"]),
        ("jobctl ", ["jobctl", ""]),
        ("jobctl get a", ["jobctl", "get", "a"]),
        ("jobctl get 'a b", ["jobctl", "get", "a b"]),
        ('jobctl get "a b" ', ["jobctl", "get", "a b", ""]),
        ("jobctl get a\\ b", ["jobctl", "get", "a b"]),
        ("jobctl get a\\", ["jobctl", "get", "a"]),
    ],
)
def test_an_unfinished_line_is_split_as_a_shell_would(line, words):
    """Open quotes are closed, and an empty last word is a word."""
    found = split_line(line)
    assert found == words or (line.endswith("\\") and found[:-1] == words[:-1])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_without_a_daemon_it_is_silent(shell, capfd):
    """No error reaches the line that is typed, and what needs no daemon is there."""
    typed = ["jobctl watch "] if shell == "bash" else ["watch", ""]
    assert main(["__complete", shell, *typed]) == 0
    assert capfd.readouterr() == ("values\n", "")


def test_a_daemon_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    """A socket that takes connections and never answers ends the help within its time, silently and with code 0."""
    import socket

    monkeypatch.setenv("JOBCTL_COMPLETION_SECONDS", "0.3")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        command = [sys.executable, "-m", "jobctl", "__complete", "fish", "--address", f"unix:{tmp_path}/s", "get", ""]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)

    assert (done.returncode, done.stdout, done.stderr) == (0, "values\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell, capsys):
    """It is printed whole, and says how it is loaded."""
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert f"jobctl completion {shell}" in printed
    assert "__complete" in printed


def test_help_does_not_tell_of_the_hidden_command(capsys):
    """It is for shells."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "__complete" not in capsys.readouterr().out
