"""The node API as an ASGI application."""

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from inventory.nodes.agent.agent import Agent
from inventory.nodes.agent.fences import Name
from inventory.nodes.agent.requests import (
    accepted,
    answer,
    check_token,
    gone,
    read_body,
    read_generation,
    read_name,
    refusal,
)
from inventory.nodes.errors import NodeRefused
from inventory.nodes.syslogs import SyslogServers
from inventory.nodes.wire import (
    License,
    NamespaceSpec,
    ProvisionerSettings,
    RefusalCode,
    SnapshotList,
    SnapshotSpec,
    SyncSpec,
    TargetList,
    VolumeList,
    VolumeSpec,
)


def make_app(*, token: str | None = None, more_routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Create one application for any number of nodes. ``scope["agent"]`` is the agent of a request.

    ``token``: the bearer token that every request must have. None: callers are identified by TLS
    alone.
    """
    routes: list[BaseRoute] = [
        Route("/v1/node", node, methods=["GET"]),
        Route("/v1/node/strays", drift, methods=["GET"]),
        Route("/v1/node/provisioner", provisioner, methods=["PUT", "DELETE"]),
        Route("/v1/node/license", license_, methods=["GET", "PUT"]),
        Route("/v1/node/syslogs", syslogs, methods=["GET", "PUT"]),
        Route("/v1/volumes", volumes, methods=["GET"]),
        Route("/v1/volumes/{uuid}", volume, methods=["GET", "PUT", "PATCH", "DELETE"]),
        Route("/v1/volumes/{uuid}/sync", sync, methods=["GET", "PUT", "DELETE"]),
        Route("/v1/snapshots", snapshots, methods=["GET"]),
        Route("/v1/snapshots/{uuid}", snapshot, methods=["GET", "PUT", "DELETE"]),
        Route("/v1/targets", targets, methods=["GET"]),
        Route("/v1/targets/{nqn:path}/namespaces/{uuid}", namespace, methods=["PUT", "DELETE"]),
        Route("/v1/targets/{nqn:path}", target, methods=["GET"]),
        *more_routes,
    ]
    handlers: dict[Any, Any] = {
        NodeRefused: _refused,
        HTTPException: _unusual,
        ClientDisconnect: _disconnected,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.token = token
    return app


def agent_of(request: Request) -> Agent:
    """Return the agent of the request, after checking the token of the request.

    :raises NodeRefused: UNAUTHORIZED
    """
    check_token(request)
    agent: Agent = request.scope["agent"]
    return agent


async def node(request: Request) -> Response:
    return answer(await agent_of(request).node())


async def drift(request: Request) -> Response:
    return answer(await agent_of(request).drift())


async def provisioner(request: Request) -> Response:
    agent = agent_of(request)
    if request.method == "DELETE":
        agent.leave_provisioner(request.query_params.get("pool", ""))
        return gone()
    agent.put_provisioner(await read_body(request, ProvisionerSettings))
    return accepted(is_new=False)


async def license_(request: Request) -> Response:
    agent = agent_of(request)
    if request.method != "PUT":
        return answer(agent.license)
    agent.put_license(await read_body(request, License))
    return accepted(is_new=False)


async def syslogs(request: Request) -> Response:
    agent = agent_of(request)
    if request.method != "PUT":
        return answer(agent.syslogs)
    agent.put_syslogs(await read_body(request, SyslogServers))
    return accepted(is_new=False)


async def volumes(request: Request) -> Response:
    return answer(VolumeList(volumes=await agent_of(request).volumes.list()))


async def volume(request: Request) -> Response:
    agent = agent_of(request)
    uuid = read_name(request, "uuid")
    if request.method == "DELETE":
        await agent.volumes.remove(uuid, read_generation(request))
        return gone()
    if request.method not in {"PUT", "PATCH"}:
        return answer(await agent.volumes.read(uuid))
    spec = await read_body(request, VolumeSpec)
    agent.generation_checker(Name(uuid), spec)
    if request.method == "PUT":
        return accepted(is_new=await agent.volumes.ensure(uuid, spec))
    await agent.volumes.change(uuid, spec)
    return accepted(is_new=False)


async def sync(request: Request) -> Response:
    agent = agent_of(request)
    uuid = read_name(request, "uuid")
    if request.method == "DELETE":
        await agent.syncs.remove(uuid, read_generation(request))
        return gone()
    if request.method == "PUT":
        spec = await read_body(request, SyncSpec)
        agent.generation_checker(Name.of_sync(uuid), spec)
        return accepted(is_new=await agent.syncs.ensure(uuid, spec))
    return answer(await agent.syncs.read(uuid))


async def snapshots(request: Request) -> Response:
    return answer(SnapshotList(snapshots=await agent_of(request).snapshots.list()))


async def snapshot(request: Request) -> Response:
    agent = agent_of(request)
    uuid = read_name(request, "uuid")
    if request.method == "DELETE":
        await agent.snapshots.remove(uuid, read_generation(request))
        return gone()
    if request.method == "PUT":
        spec = await read_body(request, SnapshotSpec)
        agent.generation_checker(Name.of_snapshot(uuid), spec)
        return accepted(is_new=await agent.snapshots.ensure(uuid, spec))
    return answer(await agent.snapshots.read(uuid))


async def targets(request: Request) -> Response:
    return answer(TargetList(targets=await agent_of(request).targets.list()))


async def target(request: Request) -> Response:
    rules = agent_of(request).targets
    return answer(await rules.read(read_name(request, "nqn")))


async def namespace(request: Request) -> Response:
    agent = agent_of(request)
    nqn = read_name(request, "nqn")
    uuid = read_name(request, "uuid")
    if request.method == "DELETE":
        await agent.targets.remove(nqn, uuid, read_generation(request))
        return gone()
    spec = await read_body(request, NamespaceSpec)
    agent.generation_checker(Name(uuid, nqn), spec)
    return accepted(is_new=await agent.targets.ensure(nqn, uuid, spec))


async def _refused(request: Request, error: NodeRefused) -> Response:
    return refusal(error.code, error.message)


async def _unusual(request: Request, error: HTTPException) -> Response:
    message = f"{request.method} {request.url.path}: {error.detail}"
    return refusal(RefusalCode.INVALID, message, status=error.status_code)


async def _disconnected(request: Request, error: ClientDisconnect) -> Response:
    return refusal(RefusalCode.INVALID, "the client disconnected before the request was complete")
