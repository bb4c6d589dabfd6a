"""Where a daemon may listen."""

from pathlib import Path

import pytest

from jobd.errors import ConfigError
from jobd.layout import StateDirectory
from jobd.listening import TcpAddress, check_exposure, choose_addresses, parse_address


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("unix:/run/x.sock", Path("/run/x.sock")),
        ("unix:x.sock", Path("x.sock")),
        ("127.0.0.1:50051", TcpAddress(host="127.0.0.1", port=50051)),
        ("[::1]:0", TcpAddress(host="::1", port=0)),
        ("build-3.example.org:1", TcpAddress(host="build-3.example.org", port=1)),
    ],
)
def test_addresses_are_read(text: str, read: TcpAddress | Path):
    """Sockets, names and addresses of both kinds are understood."""
    assert parse_address(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:a\0b",
        "unix-abstract:x",
        "vsock:1:2",
        "dns:///0.0.0.0:1",
        "ipv4:0.0.0.0:1",
        "0.0.0.0",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:1x",
        "::1:1",
        "[1.2.3.4]:1",
        "*:1",
        "a b:1",
        "127.0.0.1:" + "9" * 5000,
        "unix:/" + "x" * 107,
    ],
)
def test_what_is_no_address_is_refused(text: str):
    """gRPC takes more kinds; those that no folder closes, or that hide where they lead, are not taken."""
    with pytest.raises(ConfigError):
        parse_address(text)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "myhost:1", "localhost.example:1"])
def test_other_machines_are_served_with_tls_only(address: str):
    """Without TLS a port that others reach is refused, with what to do, unless the operator means it."""
    with pytest.raises(ConfigError, match="--tls-cert"):
        check_exposure(["unix:/run/x", address], tls=False, insecure=False)
    check_exposure([address], tls=True, insecure=False)
    check_exposure([address], tls=False, insecure=True)


@pytest.mark.parametrize(
    "address", ["unix:/run/x", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LOCALHOST:1"]
)
def test_this_machine_is_served_without_tls(address: str):
    """What nobody else can reach needs none."""
    check_exposure([address], tls=False, insecure=False)


def test_the_defaults_are_of_this_machine(monkeypatch: pytest.MonkeyPatch):
    """A daemon that is told nothing listens on a socket of its own and on loopback."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    state = StateDirectory(Path("/state"))
    addresses = choose_addresses((), state)
    assert list(addresses) == ["unix:/state/jobd.sock", "127.0.0.1:50051"]
    check_exposure(addresses, tls=False, insecure=False)
    assert choose_addresses(("127.0.0.1:7",), state) == ("127.0.0.1:7",)
