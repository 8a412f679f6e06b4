"""Sends probes to the provisioner."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from http import HTTPStatus

import urllib3
from pydantic import ValidationError

from inventory.nodes.agent.probe_tokens import ProbeTokens
from inventory.nodes.https import Outgoing, Pools, client_context, finish_within
from inventory.nodes.probes import Probe
from inventory.nodes.wire import AuthorizationServer, ProvisionerSettings, Tag, Wire
from provisioner.access.http_fetch import FetchFailed

PROBE_SECONDS = 15.0
HTTPS_PORT = 443
PARALLEL_PROBES = 16


class ProbeFailed(Exception):
    """The provisioner did not answer ``Success``."""


class _Told(Wire):
    in_use: bool | None = None
    push_interval: int | None = None
    tags: tuple[Tag, ...] | None = None
    authorization_server: AuthorizationServer | None = None


class _Reply(Wire):
    status: str
    description: str = ""
    provisioner: _Told | None = None


class ProbeSender:
    """Sends the probes of all nodes of a process, over keep-alive connections, in a few threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(PARALLEL_PROBES, thread_name_prefix="probe")
        self._lock = threading.Lock()
        self._tokens = ProbeTokens()
        self._pools_of = lru_cache(maxsize=16)(self._open_pools)

    async def send(self, settings: ProvisionerSettings, probe: Probe) -> ProvisionerSettings:
        """Send the probe, and return the settings changed as the reply says.

        :raises ProbeFailed, OSError, urllib3.exceptions.HTTPError: no success was answered.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, settings, probe)

    def close(self) -> None:
        """Start no more probes. Running ones end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, settings: ProvisionerSettings, probe: Probe) -> ProvisionerSettings:
        url = urllib3.util.parse_url(f"{settings.url.rstrip('/')}/probe")
        if url.scheme != "https" or not url.host:
            raise ProbeFailed(f"{settings.url} is not an https url")
        headers = {
            "Authorization": f"Bearer {self._bearer(settings)}",
            "Content-Type": "application/json",
        }
        request = Outgoing("POST", url.path or "/probe", headers, probe.model_dump_json().encode())
        with self._lock:
            pools = self._pools_of(settings.ca_certificate)
        with finish_within(PROBE_SECONDS):
            status, body = pools.call(url.host.strip("[]"), url.port or HTTPS_PORT, request)
        if status == HTTPStatus.UNAUTHORIZED:
            self._tokens.drop(settings)
        return _told(settings, status, body)

    def _bearer(self, settings: ProvisionerSettings) -> str:
        try:
            return self._tokens.bearer(settings)
        except FetchFailed as error:
            raise ProbeFailed(f"no token from the authorization server: {error}") from error

    def _open_pools(self, ca_certificate: str) -> Pools:
        return Pools(client_context(ca_text=ca_certificate or None))


def _told(settings: ProvisionerSettings, status: int, body: bytes) -> ProvisionerSettings:
    try:
        reply = _Reply.model_validate_json(body)
        if reply.status != "Success":
            raise ProbeFailed(f"HTTP {status}: {reply.status}: {reply.description}")
        if reply.provisioner is None:
            return settings
        told = reply.provisioner.model_dump(by_alias=False, exclude_none=True)
        # without an authorization server in the reply, the token in the settings is used again
        authorization = {"authorization_server": reply.provisioner.authorization_server}
        return ProvisionerSettings(**(dict(settings) | told | authorization))
    except ValidationError as error:
        raise ProbeFailed(f"HTTP {status}: unreadable reply") from error
