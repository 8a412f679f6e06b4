"""Configuration of gunicorn in all deployment forms: ``gunicorn -c deploy/gunicorn.conf.py``.

Settings that differ between machines come from the environment: docs/reference/settings.md. In
production gunicorn speaks plain HTTP behind HAProxy. With TLS_CERTIFICATE, as in the embedded form,
it serves TLS itself.
"""

import gc
import os
import shutil
import signal
import time
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from ssl import SSLContext, SSLError
from tempfile import mkdtemp
from typing import Any

from gunicorn import util
from gunicorn.http import wsgi

from provisioner.environment import load

_made = ""
if load().api_workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    # Each process writes its counters to this folder, and GET /metrics adds them up. The first
    # import of the Prometheus client reads the variable, and the settings import that client.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _made = mkdtemp(prefix="provisioner-metrics-")

from provisioner import server, startup  # noqa: E402
from provisioner.settings import CELERY_BROKER_URL, ENVIRONMENT, LOGGING  # noqa: E402

wsgi_app = "provisioner.wsgi:application"
preload_app = True  # loaded once, shared by the workers, which are forked in milliseconds
bind = f"{ENVIRONMENT.api_host}:{ENVIRONMENT.api_port}"
worker_class = "provisioner.api_process.ApiProcess"
workers = ENVIRONMENT.api_workers
threads = ENVIRONMENT.api_places
worker_connections = 2000 + threads  # the first 2000 may be kept for the next request
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a heartbeat in memory
timeout = 60
graceful_timeout = ENVIRONMENT.stop_seconds
keepalive = 75  # longer than load balancers keep idle connections, so that they close them
limit_request_line = 8190
limit_request_field_size = 16_380
limit_request_fields = 100
forwarded_allow_ips = ",".join(ENVIRONMENT.trusted_proxies)
forwarder_headers = ""  # the API is at the root: no caller or proxy may move it with SCRIPT_NAME
control_socket_disable = True
logger_class = server.Log
logconfig_dict = LOGGING | {
    "loggers": LOGGING["loggers"] | {"gunicorn.error": {"handlers": [], "propagate": True}}
}
util.write_error = server.write_error
wsgi.Response = server.WholeResponse  # type: ignore[misc] # gunicorn uses no other class


@cache
def _tls() -> SSLContext:
    assert ENVIRONMENT.tls_certificate
    assert ENVIRONMENT.tls_key
    return server.tls_context(
        ENVIRONMENT.tls_certificate,
        ENVIRONMENT.tls_key,
        ENVIRONMENT.tls_client_ca,
        require_client=ENVIRONMENT.require_client_certificate and not ENVIRONMENT.trusted_proxies,
    )


def ssl_context(config: Any, default_factory: Any) -> SSLContext:
    """One context for all connections: gunicorn would read the files again for each."""
    return _tls()


if ENVIRONMENT.tls_certificate:
    certfile, keyfile = str(ENVIRONMENT.tls_certificate), str(ENVIRONMENT.tls_key)
    try:
        _tls()
    except (OSError, SSLError) as error:
        raise SystemExit(f"provisioner: wrong setting: TLS_CERTIFICATE: {error}.") from None


def on_starting(arbiter: Any) -> None:
    """End if the settings cannot work. After SIGTERM, first be not ready for UNREADY_SECONDS,
    because requests arrive until the load balancer has noticed.
    """
    # in a process of its own: no worker may inherit a connection or a thread
    checker = get_context("fork").Process(target=startup.check)
    checker.start()
    checker.join()
    if checker.exitcode:
        raise SystemExit(checker.exitcode)
    end = arbiter.handle_term

    def leave() -> None:
        if ENVIRONMENT.unready_seconds:
            arbiter.kill_workers(signal.SIGUSR2)
            time.sleep(ENVIRONMENT.unready_seconds)
        end()

    arbiter.handle_term = leave


def when_ready(arbiter: Any) -> None:
    """Load what the first request would load, and exclude all of it from garbage collection. A full
    collection of the application stops all threads of a worker for 80 to 200 ms, and copies the
    memory that it shares with the main process.
    """
    from django.urls import get_resolver  # noqa: PLC0415 - needs Django

    get_resolver().url_patterns  # noqa: B018 - imports all views
    gc.collect()
    gc.freeze()
    # new containers before a collection: with 700, the default, it took a tenth of a page's time
    gc.set_threshold(10_000)


def post_worker_init(worker: Any) -> None:
    """Run Celery in this process if the broker is in memory; keep the data fresh on which answers
    from memory depend, if requests arrive in plain text; make SIGTERM end the readiness.
    """
    from provisioner.access.authorization_server import (  # noqa: PLC0415 - needs Django
        authorization_server_refresh,
    )
    from provisioner.access.health import stop_serving  # noqa: PLC0415
    from provisioner.access.revocation import revocations_refresh  # noqa: PLC0415
    from provisioner.celery import EmbeddedWorker  # noqa: PLC0415
    from provisioner.common.following import follow  # noqa: PLC0415
    from provisioner.common.writes import writes_refresh  # noqa: PLC0415
    from tasks import busy_hosts  # noqa: PLC0415
    from volumes.services.host import repeated  # noqa: PLC0415

    worker.celery = EmbeddedWorker() if CELERY_BROKER_URL.startswith("memory") else None
    if not ENVIRONMENT.tls_certificate:
        reads = busy_hosts.read, authorization_server_refresh, revocations_refresh, writes_refresh
        # storing may wait for locks, and must not delay the reads
        worker.ends = follow(*reads), follow(repeated.probes.store)

    def stop(number: int, frame: Any) -> None:
        stop_serving()
        if worker.celery:
            worker.celery.stop()
        worker.handle_exit(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR2, lambda number, frame: stop_serving())
    if worker.celery:
        worker.celery.start()


def worker_exit(arbiter: Any, worker: Any) -> None:
    for end in getattr(worker, "ends", ()):
        end()
    if embedded := getattr(worker, "celery", None):
        embedded.stop()
        embedded.join(ENVIRONMENT.stop_seconds)


def child_exit(arbiter: Any, worker: Any) -> None:
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(arbiter: Any) -> None:
    if _made:
        shutil.rmtree(_made, ignore_errors=True)
