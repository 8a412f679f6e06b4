"""Runs the certified ``oidc-provider`` of npm in a process. It needs Node.js 18 or newer."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import urllib3

from tests.programs import missing, tool

FOLDER = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "server.mjs")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "provisioner-tests"
AUDIENCE = "urn:provisioner"
START_SECONDS = 30


class NoOidcServer(Exception):
    """The server is not available on this machine. The text is one line that names what is
    missing.
    """


def installed() -> Path:
    """Return a folder with the server and its dependencies, as the lock file pins them. It is
    created at the first use.

    Without Node.js, npm or its registry, the test is skipped.
    """
    tool("node")
    tool("npm")
    digest = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in FILES)).hexdigest()
    folder = CACHE / f"oidc-{digest[:16]}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    new = Path(tempfile.mkdtemp(dir=CACHE, prefix="new-"))
    for name in FILES:
        shutil.copy(FOLDER / name, new)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(
        command, cwd=new, capture_output=True, text=True, check=False, timeout=100
    )
    if done.returncode:
        shutil.rmtree(new)
        missing(f"oidc-provider, npm ci failed: {done.stderr.strip()[-300:]!r}")
    try:
        new.rename(folder)
    except OSError:  # another test run has installed it
        shutil.rmtree(new)


class RealServer:
    """A running server. Its clients are in ``server.mjs``."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "server.mjs"],
            cwd=installed(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout
        port = self._process.stdout.readline().strip()
        if not port:
            self.stop()
            raise NoOidcServer("node server.mjs ended at once: Node.js 18 or newer is needed")
        self.url = f"http://127.0.0.1:{port}"
        self._http = urllib3.PoolManager(retries=False)

    def body(self, **changes: Any) -> dict[str, Any]:
        """Return the body of POST /auth_server."""
        return {
            "authorizationServerTokenURL": f"{self.url}/token",
            "authorizationServerJwkSetURL": f"{self.url}/jwks",
            "authorizationServerIssuer": self.url,
            "authorizationServerAudience": AUDIENCE,
            "provisionerClientID": "the-provisioner",
            "provisionerResourceID": "prov-resource",
            "provisionerClientSecret": "secret of the-provisioner",
            "backendsClientID": "the-nodes",
            "backendsResourceID": "nodes-resource",
            "backendsClientSecret": "secret of the-nodes",
        } | changes

    def token(self, client: str) -> str:
        fields = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": f"secret of {client}",
        }
        answer = self._http.request(
            "POST", f"{self.url}/token", fields=fields, encode_multipart=False
        )
        return str(answer.json()["access_token"])

    def rotate(self, *, drop: bool = False) -> None:
        """Sign with a new key from now on. ``drop``: the former keys are no longer published."""
        self._http.request("POST", f"{self.url}/test/rotate?drop={int(drop)}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
