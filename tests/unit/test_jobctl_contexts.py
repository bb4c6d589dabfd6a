"""Named daemons: how they are kept, and when they are used."""

import json
import stat

import pytest
from jobctl.__main__ import main
from jobctl.contexts import Context, Contexts
from jobctl.endpoint import resolve_endpoint
from jobctl.errors import LocalFileError, UsageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home without any of jobctl's variables, with the files that contexts name."""
    names = ("ADDRESS", "CONTEXT", "TOKEN", "TOKEN_FILE", "TLS_CA", "TLS_CERT", "TLS_KEY")
    for name in (*(f"JOBCTL_{name}" for name in names), "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("farm", "other"):
        (tmp_path / f"{name}.token").write_text(f"token of {name}\n")
    (tmp_path / "ca.pem").write_text("a certificate")
    return tmp_path


@pytest.fixture
def farm():
    """A context with a token and TLS, in use."""
    assert (
        main(["context", "add", "farm", "--address", "farm:1", "--token-file", "farm.token", "--tls-ca", "ca.pem"]) == 0
    )


def test_contexts_are_kept_listed_used_and_removed(home, farm, capsys):
    """The first is in use at once; the file is for its user alone and holds absolute paths, no token."""
    assert main(["--address", "unix:/s", "context", "add", "here"]) == 0
    assert main(["context", "list"]) == 0
    assert capsys.readouterr().out == "* farm  farm:1\n  here  unix:/s\n"
    assert main(["context", "use", "here"]) == 0
    assert main(["context", "list", "-o", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["contexts"]
    assert [(item["name"], item["current"]) for item in listed] == [("farm", False), ("here", True)]
    file = home / ".config" / "jobctl" / "config.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "token of" not in file.read_text()
    assert Contexts.read().known["farm"].token_file == str(home / "farm.token")
    assert main(["context", "remove", "here"]) == 0
    assert Contexts.read().current == ""
    assert list(file.parent.iterdir()) == [file]


def test_each_place_goes_before_the_next(home, farm, monkeypatch):
    """Flag, environment, context, and then what is found by itself."""
    main(["context", "add", "other", "--address", "other:2"])
    assert str(resolve_endpoint().address) == "farm:1"
    monkeypatch.setenv("JOBCTL_CONTEXT", "other")
    assert str(resolve_endpoint().address) == "other:2"
    monkeypatch.setenv("JOBCTL_ADDRESS", "env:3")
    assert str(resolve_endpoint().address) == "env:3"
    assert str(resolve_endpoint(context="farm").address) == "farm:1"
    assert str(resolve_endpoint("flag:4").address) == "flag:4"
    main(["context", "use", "-"])
    for name in ("JOBCTL_CONTEXT", "JOBCTL_ADDRESS"):
        monkeypatch.delenv(name)
    assert str(resolve_endpoint().address) == "127.0.0.1:50051"


def test_what_belongs_to_a_context_goes_to_its_daemon_alone(home, farm, monkeypatch):
    """Its token and its authority are not used for another address; the environment's token comes before it."""
    assert resolve_endpoint().token == "token of farm"
    assert resolve_endpoint().tls.ca == home / "ca.pem"
    assert resolve_endpoint("elsewhere:1").token == ""
    assert resolve_endpoint("elsewhere:1").tls is None
    monkeypatch.setenv("JOBCTL_TOKEN", "from the environment")
    assert resolve_endpoint().token == "from the environment"
    assert resolve_endpoint(context="farm").token == "token of farm"
    assert resolve_endpoint(None, "other.token").token == "token of other"
    assert resolve_endpoint(None, "other.token", context="farm").token == "token of other"


def test_certificates_come_from_flag_environment_or_context(home, farm, monkeypatch):
    """Each file by itself; a certificate without its key is refused; a unix socket has no use for them."""
    monkeypatch.setenv("JOBCTL_TLS_CA", "env.pem")
    assert resolve_endpoint().tls.ca == home / "env.pem"
    assert resolve_endpoint(tls_ca="flag.pem").tls.ca == home / "flag.pem"
    assert resolve_endpoint(context="farm").tls.ca == home / "ca.pem"
    with pytest.raises(UsageError, match="belong together"):
        resolve_endpoint(tls_cert="me.pem")
    assert resolve_endpoint("unix:/s").tls is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["context", "add", "x"], "--address is missing"),
        (["context", "add", "x", "--address", "nowhere"], "not an address"),
        (["context", "add", "../x", "--address", "a:1"], "not a name"),
        (["context", "add", "x", "--address", "a:1", "--token-file", "none"], "there is no file none"),
        (["context", "add", "farm", "--address", "a:1"], "there is a context farm"),
        (["context", "use", "fram"], "there is no context fram"),
        (["context", "remove", "fram"], "there are: farm"),
        (["ping", "--context", "fram"], "there is no context fram"),
        (["ping", "--context", "farm", "--address", "a:1"], "name two daemons"),
    ],
)
def test_what_cannot_be_is_a_usage_error(farm, capsys, words, said):
    """Each is told with what to do, and changes nothing."""
    before = Contexts.read()
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert Contexts.read() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"contexts": {"x": {}}}', '{"contexts": {"x": 3}}', "\xff"])
def test_a_broken_file_is_told_and_stops_no_call_that_needs_it_not(home, content):
    """Where the address is given the file is not read at all."""
    file = home / ".config" / "jobctl" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(LocalFileError, match=r"config\.json"):
        resolve_endpoint()
    assert str(resolve_endpoint("a:1").address) == "a:1"


def test_what_a_newer_jobctl_wrote_is_read(home):
    """Unknown keys are no error."""
    Contexts(known={"x": Context(address="a:1")}, current="x").write()
    file = home / ".config" / "jobctl" / "config.json"
    content = json.loads(file.read_text())
    content["contexts"]["x"]["colour"] = "red"
    file.write_text(json.dumps(content | {"theme": 1}))

    assert str(resolve_endpoint().address) == "a:1"
