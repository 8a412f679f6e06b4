"""HTTP paths that only simulated nodes have. They control faults, restarts, hosts, contents and
copies.
"""

from typing import TYPE_CHECKING

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from inventory.nodes.agent.app import agent_of
from inventory.nodes.agent.requests import accepted, answer, gone, read_body, read_name
from inventory.nodes.engines.simulated.faults import Faults
from inventory.nodes.wire import Bytes, Wire

if TYPE_CHECKING:
    from inventory.nodes.engines.simulated.service import NodeService


class ConnectedHosts(Wire):
    """The NQNs of the hosts that have a session with a target."""

    hosts: tuple[str, ...] = ()


class Mark(Wire):
    """Represents the whole content of a volume. Empty: zeros."""

    mark: str = Field(max_length=1024)


class CopyRate(Wire):
    """The rate of copies from the node; 0: they stand still."""

    bytes_per_second: Bytes


class Expendable(Wire):
    """The uuids of the volumes and snapshots that a node may lose; None: all."""

    volumes: tuple[str, ...] | None = None


class Violations(Wire):
    """The violations of a node, as text."""

    violations: tuple[str, ...]


async def faults(request: Request) -> Response:
    service = _service_of(request)
    if request.method == "GET":
        return answer(service.faults)
    if request.method == "PUT":
        await service.put_faults(await read_body(request, Faults))
        return accepted(is_new=False)
    await service.put_faults(Faults())
    return gone()


async def restart(request: Request) -> Response:
    await _service_of(request).restart()
    return gone()


async def vanish(request: Request) -> Response:
    """Lose a volume or snapshot in the data plane. Answers 204, even if there is none with this
    uuid.
    """
    await _service_of(request).vanish(read_name(request, "uuid"))
    return gone()


async def empty(request: Request) -> Response:
    only = await read_body(request, Expendable)
    await _service_of(request).come_back_empty(only.volumes)
    return gone()


async def hosts(request: Request) -> Response:
    service = _service_of(request)
    connected = await read_body(request, ConnectedHosts)
    service.engine.hosts[read_name(request, "nqn")] = connected.hosts
    return accepted(is_new=False)


async def mark(request: Request) -> Response:
    engine, uuid = _service_of(request).engine, read_name(request, "uuid")
    if request.method == "GET":
        return answer(Mark(mark=engine.read(uuid)))
    engine.write(uuid, (await read_body(request, Mark)).mark)
    return accepted(is_new=False)


async def copies(request: Request) -> Response:
    running = _service_of(request).engine.copies
    if request.method == "GET":
        return answer(CopyRate(bytes_per_second=running.rate))
    running.set_rate((await read_body(request, CopyRate)).bytes_per_second)
    return accepted(is_new=False)


async def violations(request: Request) -> Response:
    return answer(Violations(violations=tuple(_service_of(request).violations)))


def _service_of(request: Request) -> "NodeService":
    agent_of(request)
    service: NodeService = request.scope["service"]
    return service


ROUTES = (
    Route("/sim/faults", faults, methods=["GET", "PUT", "DELETE"]),
    Route("/sim/restart", restart, methods=["POST"]),
    Route("/sim/empty", empty, methods=["POST"]),
    Route("/sim/volumes/{uuid}/vanish", vanish, methods=["POST"]),
    Route("/sim/hosts/{nqn:path}", hosts, methods=["PUT"]),
    Route("/sim/volumes/{uuid}/mark", mark, methods=["GET", "PUT"]),
    Route("/sim/copies", copies, methods=["GET", "PUT"]),
    Route("/sim/violations", violations, methods=["GET"]),
)
