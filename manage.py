#!/usr/bin/env python3
"""Command line of the provisioner: ``manage.py help`` lists the commands."""

import os
import secrets
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")
    if "standalone" in sys.argv[1:2]:
        from provisioner.standalone.folder import prepare

        prepare()
    if "node_agent" in sys.argv[1:2]:
        os.environ.setdefault("SECRET_KEY", secrets.token_hex())  # a node signs nothing with it
    execute_from_command_line(sys.argv)
