"""Where jobctl looks for the daemon and its token."""

import json
import socket

import pytest
from jobctl.address import Address
from jobctl.endpoint import resolve_endpoint
from jobctl.errors import LocalFileError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home without any of jobctl's variables."""
    for name in ("JOBCTL_ADDRESS", "JOBCTL_TOKEN", "JOBCTL_TOKEN_FILE", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write_access(folder, *addresses, token=""):
    """Write what a daemon leaves for clients."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret").write_text(f"{token}\n")
    content = {"version": 1, "pid": 1, "addresses": addresses, "token_file": str(folder / "secret")}
    (folder / "access.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("unix:/run/jobd.sock", "unix:/run/jobd.sock"),
        ("unix:///run/jobd.sock", "unix:/run/jobd.sock"),
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("host.example:1", "host.example:1"),
        ("[::1]:50051", "[::1]:50051"),
    ],
)
def test_an_address_is_read_and_written(text, written):
    """Both forms are read, and written as gRPC wants them."""
    assert written == str(Address.parse(text))


@pytest.mark.parametrize(
    "text",
    ["", "host", "host:", ":50051", "host:0", "host:65536", "host:x", "::1:5", "http://h:5", "unix:", "-h:5", "h:٣"],
)
def test_what_is_no_address_is_a_usage_error(text):
    """Anything else is refused with the two forms."""
    with pytest.raises(UsageError, match="unix:PATH or HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("unix:/s", True),
        ("localhost:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("10.0.0.1:1", False),
        ("a.b:1", False),
    ],
)
def test_a_local_daemon_is_known_by_its_address(text, local):
    """Sockets and loopback are local, whatever else is not."""
    assert local == Address.parse(text).is_local


def test_the_order_of_places_is_argument_environment_access_file_socket_port(home, monkeypatch):
    """Each place is used when those before it say nothing."""
    assert str(resolve_endpoint().address) == "127.0.0.1:50051"
    state = home / ".local" / "state" / "jobd"
    state.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / "jobd.sock"))
        assert f"unix:{state}/jobd.sock" == str(resolve_endpoint().address)
    write_access(state, "unix:/b.sock", "127.0.0.1:7")
    assert str(resolve_endpoint().address) == "unix:/b.sock"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    write_access(home / "run" / "jobd", "unix:/a.sock")
    assert str(resolve_endpoint().address) == "unix:/a.sock"
    monkeypatch.setenv("JOBCTL_ADDRESS", "h:1")
    assert str(resolve_endpoint().address) == "h:1"
    assert str(resolve_endpoint("h:2").address) == "h:2"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"addresses": []}', '{"addresses": ["x"]}', "\x00"])
def test_a_broken_access_file_counts_as_none(home, content):
    """Half a file, or another program's, never stops jobctl."""
    state = home / ".local" / "state" / "jobd"
    state.mkdir(parents=True)
    (state / "access.json").write_text(content)

    assert str(resolve_endpoint().address) == "127.0.0.1:50051"


def test_the_order_of_tokens_is_option_environment_file_daemon(home, monkeypatch):
    """Each token is used when those before it are absent."""
    write_access(home / ".local" / "state" / "jobd", "unix:/a.sock", "127.0.0.1:7", token="daemon")
    (home / "named").write_text("named\n")
    (home / "given").write_text("given\n")

    assert resolve_endpoint("localhost:7").token == "daemon"
    monkeypatch.setenv("JOBCTL_TOKEN_FILE", str(home / "named"))
    assert resolve_endpoint("localhost:7").token == "named"
    monkeypatch.setenv("JOBCTL_TOKEN", "plain")
    assert resolve_endpoint("localhost:7").token == "plain"
    assert resolve_endpoint("localhost:7", str(home / "given")).token == "given"


def test_a_found_token_is_never_sent_elsewhere(home):
    """Another machine and a socket get no token that was not asked for."""
    state = home / ".local" / "state" / "jobd"
    write_access(state, "127.0.0.1:7", token="daemon")
    (state / "token").write_text("default")

    assert resolve_endpoint("10.0.0.1:7").token == ""
    assert resolve_endpoint("unix:/a.sock").token == ""
    assert resolve_endpoint("127.0.0.1:8").token == "default"


def test_a_token_file_that_cannot_be_read_is_told(home):
    """A named file must be there and hold one line."""
    (home / "two").write_text("a\nb\n")
    for name in ("none", "two"):
        with pytest.raises(LocalFileError, match="--token-file"):
            resolve_endpoint("h:1", str(home / name))


def test_folders_that_cannot_be_looked_into_hold_no_daemon(monkeypatch):
    """Another user's runtime folder, as `su` leaves it in the environment, is no error."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * 300)  # no file has that name, and to ask for it is an error
    monkeypatch.setenv("XDG_STATE_HOME", "/" + "y" * 300)
    assert str(resolve_endpoint().address) == "127.0.0.1:50051"
