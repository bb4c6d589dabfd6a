"""How clients on this machine find the daemon: its own token, and the file that tells where it is."""

import json
from pathlib import Path

import pytest
import structlog

from jobd.access import AccessFile, load_token
from jobd.layout import StateDirectory


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have clients look for a daemon in a folder of the test's."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run/jobd"


def test_a_token_is_made_once_and_private(state: StateDirectory):
    """The first question makes a long token that only the owner can read; later ones give the same."""
    token = load_token(state)
    assert len(token) >= 32
    assert state.token.stat().st_mode & 0o777 == 0o600
    assert load_token(state) == token
    assert load_token(StateDirectory(state.root)) == token


def test_two_daemons_have_two_tokens(tmp_path: Path):
    """A token is not the same twice."""
    states = [StateDirectory(tmp_path / name) for name in ("one", "two")]
    for made in states:
        made.make()
    assert load_token(states[0]) != load_token(states[1])


def test_folders_are_private(state: StateDirectory):
    """Nobody else can look into the state directory or reach its sockets."""
    for folder in (state.root, state.run, state.jobs, state.uploads, state.prefect):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_an_empty_token_file_is_filled_anew(state: StateDirectory, text: str):
    """A token file that lost its content, as on a full disk, must not mean that an empty token is valid."""
    state.token.write_text(text)
    assert len(load_token(state)) >= 32


def test_clients_are_told_where_the_daemon_is(state: StateDirectory, home: Path):
    """Both files tell addresses and where the token is, not the token, and are private; they go with the daemon."""
    token = load_token(state)
    access = AccessFile(state, ["unix:/run/x", "127.0.0.1:1"])
    access.write(structlog.get_logger())
    paths = [state.root / "access.json", home / "access.json"]
    for path in paths:
        told = json.loads(path.read_text())
        assert (told["addresses"], told["token_file"]) == (["unix:/run/x", "127.0.0.1:1"], str(state.token))
        assert token not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
    access.remove()
    assert not any(path.exists() for path in paths)


def test_another_daemons_file_is_left_alone(tmp_path: Path, state: StateDirectory, home: Path):
    """A daemon that ends does not take away what another wrote since."""
    first = AccessFile(state, ["unix:/run/x"])
    first.write(structlog.get_logger())
    other = StateDirectory(tmp_path / "other")
    other.make()
    AccessFile(other, ["unix:/run/y"]).write(structlog.get_logger())
    first.remove()
    assert json.loads((home / "access.json").read_text())["addresses"] == ["unix:/run/y"]
    assert not (state.root / "access.json").exists()


def test_a_folder_that_cannot_be_written_stops_nothing(state: StateDirectory, home: Path):
    """A daemon serves although the place where clients look first cannot be written."""
    home.parent.mkdir()
    home.write_text("in the way")
    access = AccessFile(state, ["unix:/run/x"])
    access.write(structlog.get_logger())
    assert (state.root / "access.json").exists()
    access.remove()
