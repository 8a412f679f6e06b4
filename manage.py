#!/usr/bin/env python3
"""Command line of the provisioner: ``manage.py help`` lists the commands."""

import logging.config
import os
import secrets
import sys

from django.conf import settings
from django.core.management import execute_from_command_line, load_command_class

from provisioner import __version__

TOOLS = {
    "certificates": "provisioner",
    "check_drive": "inventory",
    "node_agent": "inventory",
    "simulate_hosts": "inventory",
    "simulate_nodes": "inventory",
}
"""Commands that use no Django app, with the package that has them. Without the apps they start in a
third of the time: a storage node needs neither the API nor its database.
"""
WITHOUT_SECRETS = {*TOOLS, "license_issue", "license_key"}
"""They sign nothing with SECRET_KEY, and open no database."""
WITHOUT_DATABASE = WITHOUT_SECRETS | {
    "check",
    "data_model",
    "event_kinds",
    "help",
    "makemigrations",
    "result_codes",
    "settings_table",
    "spectacular",
    "standalone",
}


def main(command: str) -> None:
    if command in {"version", "--version"}:  # otherwise Django would show its own version
        print(__version__)  # noqa: T201
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")
    if command == "standalone":
        from provisioner.standalone.data_dir import prepare  # noqa: PLC0415 - before the settings

        prepare()
    if command in WITHOUT_SECRETS:
        os.environ.setdefault("SECRET_KEY", secrets.token_hex())
    if command in TOOLS:
        run_tool(command)
        return
    if command and not command.startswith("-") and command not in WITHOUT_DATABASE:
        from provisioner import startup  # noqa: PLC0415 - needs them

        startup.check_database()
    if command == "standalone":
        execute_from_command_line(sys.argv)
        return
    from provisioner.common.postgresql.answers import unlimited  # noqa: PLC0415 - tools lack it

    with unlimited():
        execute_from_command_line(sys.argv)


def run_tool(command: str) -> None:
    """Run one of TOOLS. Of the settings, only those of the log apply."""
    from provisioner.common import logs  # noqa: PLC0415 - only here
    from provisioner.environment import load  # noqa: PLC0415 - needs SECRET_KEY

    environment = load()
    settings.configure()
    form = logs.configuration(level=environment.log_level, form=environment.log_format)
    logging.config.dictConfig(form)
    load_command_class(TOOLS[command], command).run_from_argv(sys.argv)


if __name__ == "__main__":
    main("".join(sys.argv[1:2]))
