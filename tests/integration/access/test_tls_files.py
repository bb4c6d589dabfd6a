"""The files of TLS: what cannot be used is told at the start, and what becomes unusable later changes nothing."""

import os
from pathlib import Path

import pytest
import structlog
import trustme
from structlog.testing import capture_logs

from jobd.config import load
from jobd.errors import ConfigError
from jobd.tls import TlsFiles, TlsKeeper


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Give an authority."""
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> TlsFiles:
    """Give the files of a daemon that asks clients for certificates."""
    made = TlsFiles(certificate=tmp_path / "cert", key=tmp_path / "key", client_authority=tmp_path / "ca")
    write(made, authority.issue_cert("localhost"))
    made.client_authority.write_bytes(authority.cert_pem.bytes())
    return made


def write(files: TlsFiles, certificate: trustme.LeafCert) -> None:
    """Put a certificate and its key in place as a renewal does, one after the other."""
    replace(files.certificate, b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    replace(files.key, certificate.private_key_pem.bytes())


def replace(path: Path, content: bytes) -> None:
    """Put a new file in place of another."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.replace(path)


def keep(files: TlsFiles) -> TlsKeeper:
    """Read the files as a daemon that starts."""
    return TlsKeeper(files, structlog.get_logger())


def test_what_is_read_is_what_the_files_hold(files: TlsFiles):
    """The same object is given until the files change, so that gRPC need not take it again."""
    keeper = keep(files)
    material = keeper.material()
    assert (material.certificate, material.key) == (files.certificate.read_bytes(), files.key.read_bytes())
    assert material.client_authority == files.client_authority.read_bytes()
    assert keeper.asks_clients
    assert keeper.material() is material
    os.utime(files.certificate)
    assert keeper.material() is material


def test_new_files_are_taken(files: TlsFiles, authority: trustme.CA):
    """A renewed certificate is used as soon as it and its key are both in place, and not in between."""
    keeper = keep(files)
    old = keeper.material()
    renewed = authority.issue_cert("localhost")
    with capture_logs() as logs:
        replace(files.certificate, b"".join(pem.bytes() for pem in renewed.cert_chain_pems))
        assert keeper.material() is old
        assert keeper.material() is old
        replace(files.key, renewed.private_key_pem.bytes())
        assert keeper.material().key == renewed.private_key_pem.bytes()
    assert [line["event"] for line in logs] == ["tls_files_not_taken", "tls_files_taken"]
    assert "the key is not the certificate's" in logs[0]["error"]


@pytest.mark.parametrize("name", ["certificate", "key", "client_authority"])
def test_a_bad_renewal_keeps_the_old(files: TlsFiles, name: str):
    """A file that is removed, emptied or replaced by nonsense is told of once each, and the old one stays in use."""
    keeper = keep(files)
    old = keeper.material()
    path: Path = getattr(files, name)
    with capture_logs() as logs:
        for content in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
            replace(path, content)
            assert keeper.material() is old
            assert keeper.material() is old
        path.unlink()
        assert keeper.material() is old
    assert len(logs) == 4
    assert {line["event"] for line in logs} == {"tls_files_not_taken"}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("certificate", None, "certificate .* cannot be read: No such file"),
        ("key", None, "key .* cannot be read: No such file"),
        ("client_authority", None, "client authority .* cannot be read"),
        ("certificate", b"nonsense", "both must be PEM"),
        ("key", b"", "both must be PEM"),
        ("client_authority", b"nonsense", "client authority .* cannot be used"),
        ("client_authority", b"\xff\xfe", "client authority .* cannot be used"),
    ],
)
def test_what_cannot_be_used_is_told_at_the_start(files: TlsFiles, name: str, content: bytes | None, told: str):
    """The error names the file and what is wrong with it."""
    path: Path = getattr(files, name)
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        keep(files)


def test_a_key_of_another_certificate_is_told(files: TlsFiles, authority: trustme.CA):
    """The two must belong together."""
    files.key.write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
    with pytest.raises(ConfigError, match="the key is not the certificate's"):
        keep(files)


def test_a_key_with_a_passphrase_is_told(files: TlsFiles):
    """Nobody is there to be asked for it."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(ConfigError, match="passphrase"):
        keep(files)


def test_half_of_the_options_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A daemon that was told of some of TLS must not serve without it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load({}).tls is None
    for flags in ({"tls_cert": "x"}, {"tls_key": "x"}, {"tls_client_ca": "x"}, {"tls_cert": "x", "tls_client_ca": "x"}):
        with pytest.raises(ConfigError, match="both a certificate and its key"):
            _ = load(flags).tls
    monkeypatch.setenv("JOBD_TLS_CERT", "cert")
    monkeypatch.setenv("JOBD_TLS_KEY", "~/key")
    monkeypatch.setenv("HOME", "/home/somebody")
    tls = load({}).tls
    assert tls == TlsFiles(certificate=Path("cert").absolute(), key=Path("/home/somebody/key"))
