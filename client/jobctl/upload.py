"""One file or folder on its way to the daemon."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from jobapi.v1 import artifact_service_pb2, artifact_service_pb2_grpc

from jobctl.address import Address
from jobctl.errors import DamagedTransferError, JobctlError, UnreachableError
from jobctl.statuses import translate
from jobctl.tar_stream import read_file, read_tar

_CHUNK = 256 * 1024


class Upload:
    """Sends the bytes of a file, or the tar of a folder, and checks that the daemon got the same."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        """Hold what to send and who is told of each piece's length."""
        self._path = path
        self._folder = path.is_dir()
        self._on_bytes = on_bytes
        self._digest = hashlib.sha256()
        self._failure: JobctlError | None = None
        self._opened = threading.Event()

    def run(
        self,
        stub: artifact_service_pb2_grpc.ArtifactServiceStub,
        address: Address,
        metadata: tuple[tuple[str, str], ...],
    ) -> str:
        """Send everything and give the upload's id; nothing counts as sent when this raises."""
        self._call = stub.Upload.future(self._requests(), metadata=metadata)
        self._opened.set()
        try:
            answer = self._call.result()
        except grpc.RpcError as error:
            raise (self._failure or translate(error, address)) from error
        except grpc.FutureCancelledError as error:
            raise (self._failure or UnreachableError(f"the upload to {address} was broken off")) from error
        finally:
            self._call.cancel()
        if answer.sha256 != self._digest.hexdigest():
            raise DamagedTransferError(f"{self._path} arrived damaged at the daemon", hint="try again")
        return answer.upload_id

    def _requests(self) -> Iterator[artifact_service_pb2.UploadRequest]:
        """Make the stream's messages; runs in a thread of gRPC's."""
        try:
            yield artifact_service_pb2.UploadRequest(folder=self._folder)
            for data in read_tar(self._path, _CHUNK) if self._folder else read_file(self._path, _CHUNK):
                self._digest.update(data)
                yield artifact_service_pb2.UploadRequest(data=data)
                self._on_bytes(len(data))
        except JobctlError as error:
            # To stop here would be to complete the upload, cut short: the call has to be cancelled.
            self._failure = error
            self._opened.wait()
            self._call.cancel()
