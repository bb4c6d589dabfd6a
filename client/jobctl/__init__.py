"""The command line of jobd, and its Python client: `from jobctl import Client`."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.errors import JobctlError

__all__ = ["Client", "JobctlError"]
__version__ = "0.1.0"

_HOMES = {"Client": "jobctl.client", "JobctlError": "jobctl.errors"}


def __getattr__(name: str) -> object:
    """Import what is asked for, and nothing before: the client needs gRPC, a help text does not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
