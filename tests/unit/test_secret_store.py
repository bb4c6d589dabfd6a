"""The operator's secrets on disk."""

import stat
from pathlib import Path

import pytest

from jobd.__main__ import main
from jobd.secret_store import MOST_BYTES, SecretError, SecretStore


def test_a_secret_comes_back(tmp_path: Path):
    """What was stored is read, without the line end that a pipe adds; nobody else can open it."""
    store = SecretStore(tmp_path / "secrets")
    assert store.names() == frozenset()
    store.write("API_KEY", b"earlier value\n")
    store.write("API_KEY", "a välue of\ntwo lines\n".encode())
    assert store.read("API_KEY") == "a välue of\ntwo lines"
    assert store.names() == {"API_KEY"}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "secrets/API_KEY").stat().st_mode) == 0o600


def test_a_removed_secret_is_gone(tmp_path: Path):
    """It is read no longer, and cannot be removed twice."""
    store = SecretStore(tmp_path)
    store.write("API_KEY", b"some value")
    store.remove("API_KEY")
    for use in (store.read, store.remove):
        with pytest.raises(SecretError, match="there is no secret 'API_KEY'"):
            use("API_KEY")


@pytest.mark.parametrize("name", ["", "../token", "a/b", ".hidden", "-x", "a b", "é", "x" * 101, "a\n"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str):
    """Names that are paths, options or hidden are refused, whatever is asked with them."""
    store = SecretStore(tmp_path / "secrets")
    for use in (store.read, store.remove, lambda name: store.write(name, b"some value")):
        with pytest.raises(SecretError, match="is not a name for a secret"):
            use(name)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"seven77", "shorter than 8"),
        (b"       x     ", "shorter than 8"),
        (b"\xff\xfe binary", "not text"),
        (b"zero\0byte here", "zero byte"),
        (b"x" * (MOST_BYTES + 1), "more than"),
    ],
)
def test_a_value_that_could_not_be_kept_secret_is_refused(tmp_path: Path, value: bytes, message: str):
    """Too short to mask, no text, or too long for a variable: nothing is stored, and the value is not told."""
    with pytest.raises(SecretError, match=message) as caught:
        SecretStore(tmp_path).write("API_KEY", value)
    assert value.decode(errors="replace").strip() not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_lists_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """`jobd secret` stores what standard input holds, lists names, and never prints a value."""
    given = tmp_path / "given"
    given.write_text("a secret value\n")
    options = ["--state-dir", str(tmp_path / "state")]
    with given.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(["secret", "set", "API_KEY", *options]) == 0
    assert main(["secret", "list", *options]) == 0
    assert capsys.readouterr().out == "API_KEY\n"
    assert SecretStore(tmp_path / "state/secrets").read("API_KEY") == "a secret value"
    assert main(["secret", "remove", "API_KEY", *options]) == 0
    assert main(["secret", "remove", "API_KEY", *options]) == 1
    assert "there is no secret" in capsys.readouterr().err
