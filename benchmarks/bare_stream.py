"""A gRPC server that takes and gives bytes and does nothing else: the least that a transfer can cost."""

import asyncio
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path

import grpc

METHODS = {"up": "/bare.Stream/Up", "down": "/bare.Stream/Down"}


def serve(address: str, file: Path, piece: int, ready: "Connection[object, object]") -> None:
    """Serve until the process is ended; `file` is what is given, in pieces of so many bytes."""
    asyncio.run(_serve(address, file, piece, ready))


async def _serve(address: str, file: Path, piece: int, ready: "Connection[object, object]") -> None:
    async def up(requests: AsyncIterator[bytes], _context: object) -> bytes:
        async for _ in requests:
            pass
        return b""

    async def down(_request: bytes, _context: object) -> AsyncIterator[bytes]:
        with file.open("rb") as data:
            while block := data.read(piece):
                yield block

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Up": grpc.stream_unary_rpc_method_handler(up),
        "Down": grpc.unary_stream_rpc_method_handler(down),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Stream", handlers),))
    server.add_insecure_port(address)
    await server.start()
    ready.send(None)
    await server.wait_for_termination()
