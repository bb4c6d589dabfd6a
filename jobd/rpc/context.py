"""What gRPC tells a servicer of a call."""

from typing import Any, TypeAlias

import grpc

from jobd.roots import Caller

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def caller_of(context: Context) -> Caller:
    """Tell whether a call came over the unix socket, which is closed to all but the daemon's user."""
    return Caller(same_user=context.peer().startswith("unix:"))
