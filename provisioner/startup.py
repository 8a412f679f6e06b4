"""Checks at the start of a process. A wrong setting ends the process at once, with one sentence.
Otherwise a node would become Unavailable, or a call would fail, minutes later.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import load_backend


class CannotStart(SystemExit):
    """Ends the process with exit code 1, and writes the sentence to stderr."""

    def __init__(self, sentence: str) -> None:
        super().__init__(f"provisioner: cannot start: {sentence}.")


def check() -> None:
    """Check the settings of the API, a worker or beat. This takes one attempt to connect to the
    database, and the time to load Django.

    :raises CannotStart: PUBLIC_URL, the credentials for nodes, the database, its encoding or its
        migrations are not usable.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")
    if not apps.ready:
        django.setup()
    _check_settings()
    with _own_connection():
        _check_migrations()
        _check_nodes_reach_us()


def check_database() -> None:
    """Check that a command can use the database.

    :raises CannotStart: the database cannot be reached, or has another encoding than UTF8.
    """
    with _own_connection():
        pass


def _check_settings() -> None:
    from inventory.services.node.clients import node_transport  # noqa: PLC0415 - needs apps

    environment = settings.ENVIRONMENT
    if not environment.is_embedded and not environment.public_url:
        raise CannotStart("PUBLIC_URL is not set: nodes need it to send their probes")
    if not environment.is_embedded and not environment.node_certificate:
        raise CannotStart("NODE_CERTIFICATE is not set: nodes require it")
    try:
        for file in filter(None, (environment.node_ca, environment.node_certificate)):
            file.read_bytes()  # its error names the file
        node_transport()
    except (OSError, ValueError) as error:
        raise CannotStart(f"{error}: NODE_CA and NODE_CERTIFICATE") from None
    finally:
        node_transport.cache_clear()


@contextmanager
def _own_connection() -> Iterator[None]:
    """Use a connection outside the pool. The pool would wait, and would start threads before a
    fork.
    """
    parameters = copy.deepcopy(connections.settings["default"])
    parameters["OPTIONS"].pop("pool", None)
    own = load_backend(parameters["ENGINE"]).DatabaseWrapper(parameters, "default")
    connections["default"] = own
    try:
        own.ensure_connection()
        if own.vendor == "postgresql":
            _check_encoding()
        yield
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise CannotStart(f"the database cannot be used: {reason}") from None
    finally:
        own.close()
        del connections["default"]


def _check_encoding() -> None:
    """With another encoding, PostgreSQL refuses to store some names, or compares them as bytes."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        [encoding] = cursor.fetchone()
    if encoding != "UTF8":
        raise CannotStart(
            f"the database of DATABASE_URL has server_encoding {encoding}, but must have UTF8: "
            "create it with --encoding=UTF8, as in docs/how-to/install.md; move the data of an old "
            "one as in docs/how-to/back-up-and-restore.md"
        )


def _check_migrations() -> None:
    executor = MigrationExecutor(connections["default"])
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        first = f"{missing[0][0].app_label}.{missing[0][0].name}"
        raise CannotStart(
            f"the database lacks {len(missing)} migrations, {first} first: run manage.py migrate"
        )


def _check_nodes_reach_us() -> None:
    from inventory.services.node.reachability import nodes_out_of_reach  # noqa: PLC0415 - needs apps

    if address := nodes_out_of_reach():
        url = settings.ENVIRONMENT.url_for_nodes
        raise CannotStart(f"PUBLIC_URL is {url}, which the node at {address} cannot reach")
