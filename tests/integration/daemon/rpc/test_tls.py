"""TLS on the wire: who is believed, who is let in by a certificate, and certificates that change while it is served."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc

from jobd.doors import read_certificate_roles
from jobd.identity import Role
from jobd.tls import TlsFiles

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Give the authority of the daemon and of its clients."""
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> TlsFiles:
    """Give the files of a daemon that asks nobody for a certificate."""
    made = TlsFiles(certificate=tmp_path / "tls-cert", key=tmp_path / "tls-key")
    write(made, authority.issue_cert("127.0.0.1"))
    return made


@pytest.fixture
def mutual(tmp_path: Path, files: TlsFiles, authority: trustme.CA) -> TlsFiles:
    """Give the files of a daemon that asks clients for a certificate."""
    (tmp_path / "tls-ca").write_bytes(authority.cert_pem.bytes())
    return TlsFiles(certificate=files.certificate, key=files.key, client_authority=tmp_path / "tls-ca")


def chain(certificate: trustme.LeafCert) -> bytes:
    """Give a certificate as PEM."""
    return b"".join(pem.bytes() for pem in certificate.cert_chain_pems)


def write(files: TlsFiles, certificate: trustme.LeafCert) -> None:
    """Put a certificate and its key in place."""
    files.key.write_bytes(certificate.private_key_pem.bytes())
    files.certificate.write_bytes(chain(certificate))


@contextlib.asynccontextmanager
async def calling(
    client: Any, authority: trustme.CA | None, certificate: trustme.LeafCert | None = None
) -> AsyncIterator[Any]:
    """Give stubs that call over TLS, or in the clear where no authority is given."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if authority is None:
        channel = grpc.aio.insecure_channel(client.tcp, options)
    else:
        credentials = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(),
            certificate.private_key_pem.bytes() if certificate else None,
            chain(certificate) if certificate else None,
        )
        channel = grpc.aio.secure_channel(client.tcp, credentials, options)
    async with channel:
        yield job_service_pb2_grpc.ServerServiceStub(channel)


async def ask(server: Any, secret: str = "") -> str:
    """Ask the daemon who one is; the status where it does not tell."""
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    try:
        info = await server.GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata, timeout=60)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return f"{info.caller} {info.role}"


def test_with_tls_nothing_is_served_in_the_clear(serve, files: TlsFiles, authority: trustme.CA):
    """Who trusts the authority and has a token is served; in the clear or by another authority nobody gets through."""

    async def work(client) -> None:
        async with calling(client, authority) as server:
            assert await ask(server, client.token) == "local admin"
            assert await ask(server, client.book.create("ci", Role.READ)) == "ci read"
            assert await ask(server) == "UNAUTHENTICATED"
        async with calling(client, None) as server:
            assert await ask(server, client.token) == "UNAVAILABLE"
        async with calling(client, trustme.CA()) as server:
            assert await ask(server, client.token) == "UNAVAILABLE"
        assert (await client.submit()).owner == "local"  # the unix socket needs none of it

    serve(work, tls=files)


def test_a_client_certificate_is_an_identity(serve, mutual: TlsFiles, authority: trustme.CA):
    """Its common name, or else its first other name, is the caller; its role is the operator's; a token goes before."""
    named = authority.issue_cert("x.example", common_name="alice")
    unnamed = authority.issue_cert("spiffe.example", "second.example")
    boss = authority.issue_cert("b.example", common_name="boss")

    async def work(client) -> None:
        for certificate, told in (
            (named, "cert:alice submit"),
            (unnamed, "cert:spiffe.example submit"),
            (boss, "cert:boss admin"),
        ):
            async with calling(client, authority, certificate) as server:
                assert await ask(server) == told
        async with calling(client, authority, named) as server:
            assert await ask(server, client.book.create("ci", Role.READ)) == "ci read"
            assert await ask(server, "wrong") == "UNAUTHENTICATED"

    serve(work, tls=mutual, certificates=read_certificate_roles(["boss=admin"]))


def test_without_a_certificate_of_the_authority_nobody_gets_through(serve, mutual: TlsFiles, authority: trustme.CA):
    """A token does not replace the certificate, and one of another authority is none."""

    async def work(client) -> None:
        async with calling(client, authority) as server:
            assert await ask(server, client.token) == "UNAVAILABLE"
        foreign = trustme.CA().issue_cert("x.example", common_name="boss")
        async with calling(client, authority, foreign) as server:
            assert await ask(server, client.token) == "UNAVAILABLE"

    serve(work, tls=mutual)


def test_a_renewed_certificate_is_shown_to_the_next_client(serve, files: TlsFiles, authority: trustme.CA):
    """Open connections go on, new ones see the new certificate, and a renewal that went wrong is not seen."""

    def shown(address: str) -> bytes | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        context.set_alpn_protocols(["h2"])
        host, _, port = address.partition(":")
        with (
            socket.create_connection((host, int(port)), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return secure.getpeercert(binary_form=True)

    async def work(client) -> None:
        async with calling(client, authority) as server:
            assert await ask(server, client.token) == "local admin"
            first = await asyncio.to_thread(shown, client.tcp)
            assert await asyncio.to_thread(shown, client.tcp) == first
            write(files, authority.issue_cert("127.0.0.1"))
            second = await asyncio.to_thread(shown, client.tcp)
            assert second != first
            files.certificate.write_bytes(b"nonsense")
            assert await asyncio.to_thread(shown, client.tcp) == second
            assert await ask(server, client.token) == "local admin"

    serve(work, tls=files)


def test_another_client_authority_is_taken_without_a_restart(serve, mutual: TlsFiles, authority: trustme.CA):
    """Whose certificates count can change while the daemon serves."""
    other = trustme.CA()
    certificate = other.issue_cert("x.example", common_name="alice")

    async def work(client) -> None:
        async with calling(client, authority, certificate) as server:
            assert await ask(server) == "UNAVAILABLE"
        mutual.client_authority.write_bytes(authority.cert_pem.bytes() + other.cert_pem.bytes())
        async with calling(client, authority, certificate) as server:
            assert await ask(server) == "cert:alice submit"

    serve(work, tls=mutual)
