"""ModuleService: what modules there are."""

import asyncio

from jobapi.v1 import module_service_pb2 as pb
from jobapi.v1 import module_service_pb2_grpc as pb_grpc

from jobd.catalog import Catalog
from jobd.errors import ModuleNotFoundInCatalogError
from jobd.rpc import convert
from jobd.rpc.context import Context


class ModuleService(pb_grpc.ModuleServiceServicer):
    """Tells which modules the daemon can run."""

    def __init__(self, catalog: Catalog) -> None:
        """Serve this catalog."""
        self._catalog = catalog

    async def ListModules(self, request: pb.ListModulesRequest, _context: Context) -> pb.ListModulesResponse:  # noqa: N802
        """List the modules as they are on disk now."""
        snapshot = await asyncio.to_thread(self._catalog.scan)
        modules = [module for name, module in sorted(snapshot.modules.items()) if request.name in ("", name)]
        broken = [module for module in snapshot.broken if request.name in ("", module.name)]
        if request.name and not modules and not broken:
            raise ModuleNotFoundInCatalogError(
                f"there is no module {request.name!r}", hint="`jobctl modules` lists those there are"
            )
        return pb.ListModulesResponse(modules=map(convert.module, modules), broken=map(convert.broken_module, broken))
