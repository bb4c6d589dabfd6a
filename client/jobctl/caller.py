"""What the blocking client and the one of asyncio have in common: how they come to a daemon."""

from typing import Self

from jobctl.endpoint import Endpoint, resolve_endpoint
from jobctl.operations import Operations
from jobctl.patience import Patience


class Caller:
    """Knows a daemon, and what can be asked of it."""

    def __init__(self, endpoint: Endpoint, *, patience: Patience | None = None) -> None:
        """Hold a channel; the connection is made with the first call."""
        self.address = endpoint.address
        self._operations = Operations(address=endpoint.address, patience=patience or Patience())

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        token_file: str | None = None,
        *,
        context: str | None = None,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
    ) -> Self:
        """Find the daemon as `jobctl` does: by arguments, environment, contexts and what a daemon wrote down."""
        return cls(
            resolve_endpoint(address, token_file, context=context, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
        )
