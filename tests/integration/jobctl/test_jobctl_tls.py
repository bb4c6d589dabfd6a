"""Both clients against a port that speaks TLS and asks for the client's certificate."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import trustme
from jobapi.v1 import job_service_pb2, job_service_pb2_grpc
from jobctl import Client
from jobctl.aio import AsyncClient
from jobctl.errors import LocalFileError, UnreachableError


class ServerService(job_service_pb2_grpc.ServerServiceServicer):
    """Answers with the token that it was given, so that a test sees it arrive."""

    def GetServerInfo(self, request, context):  # noqa: N802 - the protocol's name
        token = dict(context.invocation_metadata()).get("authorization", "")
        return job_service_pb2.GetServerInfoResponse(version=token)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A port on this machine with certificates of an authority of its own; gives the options of a client."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOBCTL_TOKEN", "secret")
    authority = trustme.CA()
    server_side, client_side = authority.issue_cert("localhost"), authority.issue_cert("me@example.org")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client_side.cert_chain_pems[0].write_to_path(str(tmp_path / "me.pem"))
    client_side.private_key_pem.write_to_path(str(tmp_path / "me.key"))
    pair = (server_side.private_key_pem.bytes(), server_side.cert_chain_pems[0].bytes())
    server = grpc.server(ThreadPoolExecutor(2))
    job_service_pb2_grpc.add_ServerServiceServicer_to_server(ServerService(), server)
    credentials = grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), require_client_auth=True)
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield {
        "address": f"localhost:{port}",
        "tls_ca": str(tmp_path / "ca.pem"),
        "tls_cert": str(tmp_path / "me.pem"),
        "tls_key": str(tmp_path / "me.key"),
    }
    server.stop(None).wait(30)


def ask_twice(options):
    """Ask with both clients."""

    async def ask():
        async with AsyncClient.connect(**options) as client:
            return (await client.info()).version

    with Client.connect(**options) as client:
        return client.info().version, asyncio.run(ask())


def test_certificates_and_the_token_reach_the_daemon(files):
    """Whoever has the files gets an answer, and the token goes with the call."""
    assert ask_twice(files) == ("Bearer secret", "Bearer secret")


@pytest.mark.parametrize("without", [("tls_cert", "tls_key"), ("tls_ca", "tls_cert", "tls_key")])
def test_without_them_there_is_no_connection(files, without):
    """No certificate, or plain text, is refused by the port."""
    with pytest.raises(UnreachableError):
        ask_twice({name: value for name, value in files.items() if name not in without})


def test_a_certificate_that_is_not_there_is_told(files, tmp_path):
    """The path is named, before anything is sent."""
    with pytest.raises(LocalFileError, match="nowhere"):
        ask_twice({**files, "tls_ca": str(tmp_path / "nowhere")})
