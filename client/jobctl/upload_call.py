"""A stream of messages to the daemon, sent by gRPC's own thread."""

import threading
from collections.abc import Iterator
from typing import Protocol

import grpc
from google.protobuf.message import Message

from jobctl.channel import Metadata
from jobctl.errors import JobctlError, UnreachableError


class Upload(Protocol):
    """A call on its way."""

    def result(self) -> Message:
        """Wait for the daemon's answer."""

    def cancel(self) -> bool:
        """Break it off."""


class UploadMethod(Protocol):
    """A method of the daemon that takes a stream."""

    def future(self, requests: Iterator[Message], *, metadata: Metadata) -> Upload:
        """Begin to send."""


class UploadCall:
    """Sends messages; when one cannot be made, the call is broken off, for to stop would be to complete it."""

    def __init__(self, requests: Iterator[Message]) -> None:
        """Hold what makes the messages."""
        self._requests = requests
        self._failure: JobctlError | None = None
        self._opened = threading.Event()
        self._call: Upload

    def run(self, method: UploadMethod, metadata: Metadata) -> Message:
        """Send everything and give the answer; nothing counts as sent when this raises."""
        self._call = method.future(self._make(), metadata=metadata)
        self._opened.set()
        try:
            return self._call.result()
        except grpc.RpcError as error:
            if self._failure:
                raise self._failure from error
            raise
        except grpc.FutureCancelledError as error:
            raise (self._failure or UnreachableError("the upload was broken off")) from error
        finally:
            self._call.cancel()

    def _make(self) -> Iterator[Message]:
        """Make the messages; runs in a thread of gRPC's."""
        try:
            yield from self._requests
        except JobctlError as error:
            self._failure = error
            self._opened.wait()
            self._call.cancel()
