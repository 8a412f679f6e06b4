#!/usr/bin/env python3
"""Command line of the provisioner: ``manage.py help`` lists the commands."""

import os
import secrets
import sys

from django.core.management import execute_from_command_line

from provisioner import __version__

WITHOUT_SECRETS = {
    "certificates",
    "check_drive",
    "license_issue",
    "license_key",
    "node_agent",
    "simulate_hosts",
    "simulate_nodes",
}
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
    if command and not command.startswith("-") and command not in WITHOUT_DATABASE:
        from provisioner import startup  # noqa: PLC0415 - needs them

        startup.check_database()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main("".join(sys.argv[1:2]))
