"""Tokens as files: made, found, listed, revoked and expired, also by two programs at once."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from jobd.__main__ import main
from jobd.doors import CertificateRoles, Doors, Knock
from jobd.errors import ConfigError, UnauthenticatedError
from jobd.identity import LOCAL_ADMIN, Identity, Role
from jobd.tokens import TokenBook


class Clock:
    """A time that a test moves."""

    now = 1_000_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a time that stands still."""
    return Clock()


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> TokenBook:
    """Give a book without tokens."""
    return TokenBook(tmp_path / "tokens", now=clock)


@pytest.fixture
def doors(book: TokenBook) -> Doors:
    """Give the doors of a daemon that reads this book."""
    return Doors(token="own", book=book, certificates=CertificateRoles(), log=structlog.get_logger())


def knock(authorization: str | None, *names: str) -> Knock:
    """Call over TCP."""
    return Knock(unix=False, authorization=authorization, certificate_names=names)


def test_a_token_is_found_by_itself_and_kept_as_its_hash(book: TokenBook, tmp_path: Path):
    """Only who has the token gets in; the file, closed to others, does not hold it."""
    secret = book.create("ci", Role.SUBMIT)
    assert len(secret) >= 43
    token = book.find(secret)
    assert token is not None
    assert (token.name, token.role) == ("ci", Role.SUBMIT)
    path = tmp_path / "tokens/ci.json"
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["ci.json"]
    for wrong in ("", secret[:-1], secret + "x", token.sha256, secret.upper(), "\udcff"):
        assert book.find(wrong) is None


def test_no_two_tokens_are_alike(book: TokenBook):
    """Each is random, and each tells its own name."""
    secrets = {name: book.create(name, Role.READ) for name in ("a", "b", "c")}
    assert len(set(secrets.values())) == 3
    assert all(book.find(secret).name == name for name, secret in secrets.items())


def test_what_others_change_is_seen_at_once(book: TokenBook, tmp_path: Path):
    """A daemon that reads the folder sees what another program makes and revokes, from one call to the next."""
    other = TokenBook(tmp_path / "tokens")
    assert book.tokens() == ()
    for _ in range(20):
        secret = other.create("ci", Role.READ)
        assert book.find(secret) is not None
        other.revoke("ci")
        assert book.find(secret) is None


def test_an_unchanged_folder_is_not_read_again(book: TokenBook, tmp_path: Path, clock: Clock):
    """What was read stays in memory until the folder changes."""
    book.create("ci", Role.READ)
    folder = tmp_path / "tokens"
    os.utime(folder, (clock.now - 10, clock.now - 10))
    first = book.tokens()
    assert book.tokens() is first
    book.create("other", Role.READ)
    assert len(book.tokens()) == 2


def test_a_token_expires(book: TokenBook, clock: Clock):
    """After its time it lets nobody in, and stays in the list until it is revoked."""
    secret = book.create("ci", Role.READ, seconds=60)
    token = book.find(secret)
    clock.now += 59
    assert book.find(secret) is not None
    assert book.admits(token.sha256)
    clock.now += 1
    assert book.find(secret) is None
    assert not book.admits(token.sha256)
    assert [item.name for item in book.tokens()] == ["ci"]


def test_its_use_is_written_down_to_a_minute(book: TokenBook, clock: Clock):
    """The last use is known afterwards, at the price of one small write a minute; a revoked one does not come back."""
    book.create("ci", Role.READ)
    assert book.used("ci") == 0
    book.note_use("ci")
    assert book.used("ci") == clock.now
    clock.now += 59
    book.note_use("ci")
    assert book.used("ci") == clock.now - 59
    clock.now += 1
    book.note_use("ci")
    assert book.used("ci") == clock.now
    book.revoke("ci")
    clock.now += 100
    book.note_use("ci")
    assert book.tokens() == ()


@pytest.mark.parametrize("name", ["", "local", "../ci", "a/b", ".ci", "a b", "a\nb", "cert:a", "-a", "x" * 64, "é"])
def test_a_name_that_could_mean_something_else_is_refused(book: TokenBook, name: str):
    """A name is a file's, an owner's, and a word in logs: it must be plain, and never that of the daemon's user."""
    with pytest.raises(ConfigError, match="cannot be the name"):
        book.create(name, Role.READ)
    with pytest.raises(ConfigError, match="there is no token"):
        book.revoke(name)


def test_of_two_that_are_made_at_once_one_is(book: TokenBook, tmp_path: Path):
    """A name is given once, whoever asks at the same time, and the winner's token is the one that is kept."""

    def attempt(_number: int) -> str:
        try:
            return TokenBook(tmp_path / "tokens").create("ci", Role.READ)
        except ConfigError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        made = [secret for secret in pool.map(attempt, range(16)) if secret]
    assert len(made) == 1
    assert book.find(made[0]) is not None


def test_a_file_that_cannot_be_read_lets_nobody_in(book: TokenBook, doors: Doors, tmp_path: Path):
    """A torn file, a renamed one and one that takes the daemon's own name are told of, and the others still hold."""
    secret = book.create("good", Role.READ)
    content = json.loads((tmp_path / "tokens/good.json").read_text())
    for name, text in (
        ("torn", '{"name": "to'),
        ("renamed", json.dumps(content)),
        ("local", json.dumps(content | {"name": "local", "role": "admin"})),
        ("root", json.dumps(content | {"name": "root", "role": "root"})),
        ("hash", json.dumps(content | {"name": "hash", "sha256": "é" * 64})),
    ):
        (tmp_path / f"tokens/{name}.json").write_text(text)
    with capture_logs() as logs:
        assert doors.admit(knock(f"Bearer {secret}")).name == "good"
        doors.admit(knock(f"Bearer {secret}"))
    assert sorted(line["file"] for line in logs) == [
        "hash.json",
        "local.json",
        "renamed.json",
        "root.json",
        "torn.json",
    ]


def test_who_calls(book: TokenBook, doors: Doors):
    """The socket and the daemon's own token are its user; a token is itself; a token goes before a certificate."""
    secret = book.create("ci", Role.READ)
    assert doors.admit(Knock(unix=True, authorization=None)) == LOCAL_ADMIN
    assert doors.admit(knock("Bearer own")) == doors.admit(knock("bearer  own ")) == LOCAL_ADMIN
    ci = doors.admit(knock(f"Bearer {secret}", "alice"))
    assert (ci.name, ci.role) == ("ci", Role.READ)
    assert doors.admit(knock(None, "alice", "alice.example")) == Identity(name="cert:alice", role=Role.SUBMIT)
    assert doors.still_admits(ci)
    assert doors.still_admits(LOCAL_ADMIN)
    book.revoke("ci")
    assert not doors.still_admits(ci)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "own",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer own2",
        "Basic own",
        "Bearer öwn",
        "Bearer " + "x" * 1000,
    ],
)
def test_who_has_no_token_is_nobody(doors: Doors, header: str | None):
    """Anything but a token itself is refused, with a hint where to get one, also when a certificate is there."""
    with pytest.raises(UnauthenticatedError, match="jobd token create"):
        doors.admit(knock(header))
    if header is not None:
        with pytest.raises(UnauthenticatedError):
            doors.admit(knock(header, "alice"))


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 300])
def test_a_certificate_with_a_name_that_cannot_be_shown_is_nobody(doors: Doors, name: str):
    """The name goes into logs and tables, and so must be a plain line."""
    with pytest.raises(UnauthenticatedError, match="name cannot be used"):
        doors.admit(knock(None, name))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The token alone is on standard output; the list tells the rest; what cannot be is exit code 2 with a reason."""
    folder = str(tmp_path / "state")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["token", *words, "--state-dir", folder])
        told = capsys.readouterr()
        return code, told.out, told.err

    code, secret, told = run("create", "--name", "ci", "--role", "submit", "--expires", "3")
    assert (code, told) == (0, "")
    token = TokenBook(tmp_path / "state/tokens").find(secret.strip())
    assert token is not None
    assert token.expires - token.created == pytest.approx(3 * 86400)
    code, out, _ = run("list")
    assert code == 0
    assert out.splitlines()[0].split() == ["NAME", "ROLE", "CREATED", "LAST", "USED", "EXPIRES"]
    assert out.splitlines()[1].split()[:2] == ["ci", "submit"]
    assert secret.strip() not in out
    code, out, told = run("create", "--name", "ci", "--role", "read")
    assert (code, out) == (2, "")
    assert "there is a token 'ci' already" in told
    assert run("revoke", "ci")[0] == 0
    assert run("revoke", "ci")[0] == 2
    assert len(run("list")[1].splitlines()) == 1
