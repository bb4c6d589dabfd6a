"""A daemon that was told something unsafe, or something that cannot be, does not start: it says why and what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme


def serve(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is to refuse, in an environment of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-m", "jobd", "serve", "--state-dir", str(folder / "state"), *options],
        env=environment | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Give a folder with a certificate, its key, and the key of another."""
    authority = trustme.CA()
    for name in ("one", "other"):
        made = authority.issue_cert("localhost")
        made.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        made.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    return tmp_path


def test_other_machines_are_not_served_in_the_clear(tmp_path: Path):
    """An address that others can reach needs TLS; nothing of a store is made."""
    done = serve(tmp_path, "--listen", "0.0.0.0:0")
    assert done.returncode == 2
    assert "0.0.0.0:0 can be reached by other machines, and there is no TLS" in done.stderr
    assert "--tls-cert" in done.stderr
    assert not (tmp_path / "state/jobd.db").exists()


def test_files_that_do_not_fit_are_refused(files: Path):
    """A key of another certificate is told at the start, and not by failing connections later."""
    done = serve(files, "--tls-cert", str(files / "one.pem"), "--tls-key", str(files / "other.key"))
    assert done.returncode == 2
    assert "the key is not the certificate's" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_role_that_is_none_is_refused(files: Path):
    """A misspelt role is told at the start."""
    done = serve(files, "--tls-client-role", "boss")
    assert done.returncode == 2
    assert "'boss' is no role" in done.stderr
