"""Reading a file for a stream: a thread reads and hashes the next bytes while those before are sent."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor

from jobd.upload_part import bring_to_end


class ReadAhead:
    """Gives what is made in threads, and its digest."""

    def __init__(self, blocks: Iterator[bytes], threads: Executor, *, known: str = "") -> None:
        """Have the blocks made in these threads, one at a time; a digest that is `known` is not computed again."""
        self._blocks = blocks
        self._threads = threads
        self._known = known
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of what was given, in lower-case hexadecimal."""
        return self._known or self._digest.hexdigest()

    async def read(self, most: int) -> AsyncGenerator[bytes, None]:
        """Give everything, in pieces of at most so many bytes."""
        coming = self._fetch()
        try:
            while block := await bring_to_end(coming):
                coming = self._fetch()
                for begin in range(0, len(block), most):
                    yield block[begin : begin + most]
        finally:
            await asyncio.wait([coming])

    def _fetch(self) -> "asyncio.Future[bytes]":
        return asyncio.get_running_loop().run_in_executor(self._threads, self._make)

    def _make(self) -> bytes:
        block = next(self._blocks, b"")
        if not self._known:
            self._digest.update(block)
        return block
