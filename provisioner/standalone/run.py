"""Runs the embedded form: prepares and starts all processes, and stops them at the end."""

import shlex
import signal
import sys
import time
from types import FrameType

from django.core.management import call_command

from inventory.services.pool.generations import generations_raise
from inventory.simulated_hosts import host_uuid
from provisioner.common.postgresql.answers import unlimited
from provisioner.environment import Environment
from provisioner.standalone.administrator import NAME, Credentials, administrator, host_token
from provisioner.standalone.client import Client, NoAnswer
from provisioner.standalone.console import say
from provisioner.standalone.data_dir import DataDir, FolderInUse, write_secret
from provisioner.standalone.scenario import Scenario
from provisioner.standalone.scenario_runner import ScenarioRunner, StepFailed
from provisioner.standalone.system import HOST_NAME, ROOT, StartFailed, System

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked this process to end."""


def run(environment: Environment, *, scenario: bool, leave: bool) -> None:
    """Serve until a signal arrives, or with ``leave`` until the scenario has ended.

    :raises SystemExit: the system does not start, a process dies, or the scenario fails. It has one
        sentence.
    """
    for number in SIGNALS:
        signal.signal(number, _stop)
    finished = False
    try:
        _run(environment, scenario=scenario, leave=leave)
        finished = True
    except Stopped:
        finished = not leave
        say("\nStopped.")
    except (FolderInUse, StartFailed, StepFailed, NoAnswer) as error:
        raise SystemExit(f"provisioner: {error}.") from None
    if not finished:
        raise SystemExit("provisioner: stopped before the end of the demonstration.")


def _run(environment: Environment, *, scenario: bool, leave: bool) -> None:
    folder = DataDir(environment.data_dir)
    folder.lock()
    folder.complete(environment)
    say(f"Starting the API, four simulated storage nodes and a host; data and logs: {folder.path}")
    with unlimited():
        call_command("migrate", verbosity=0, interactive=False)
    generations_raise()
    credentials = administrator()
    write_secret(folder.host_token, host_token(host_uuid(f"{HOST_NAME}-1")))
    system = System(folder, environment)
    with system.running():
        if scenario:
            runner = ScenarioRunner(_api_client(system.url, folder, credentials.header))
            admins = {
                port: Client(
                    f"https://{address}:{port}",
                    ca=folder.ca,
                    certificate=folder.provisioner_certificate,
                )
                for address, port in system.nodes
            }
            Scenario(runner, system.nodes, admins).play()
            say("\nThe demonstration has ended: each step succeeded.", "green")
        if not leave:
            _introduce(system, folder, credentials)
            while True:
                system.check()
                time.sleep(0.5)


def _api_client(url: str, folder: DataDir, authorization: str) -> Client:
    return Client(
        url,
        ca=folder.ca,
        certificate=folder.client_certificate,
        authorization=authorization,
    )


def _introduce(system: System, folder: DataDir, credentials: Credentials) -> None:
    data, ca, certificate = map(
        shlex.quote, map(str, (folder.path, folder.ca, folder.client_certificate))
    )
    reset = f"DATA_DIR={data} {sys.executable} {ROOT}/manage.py changepassword {NAME}"
    password = credentials.password or "(was printed at the first start)"
    say("\nThe system is running. Press Ctrl-C to stop it.\n", "bold")
    say(f"  API        {system.url}")
    say(f"  Admin      {system.url}/admin/")
    say(f"  User       {NAME}")
    say(f"  Password   {password}")
    say(f"             reset: {reset}")
    say(f"\n  curl --cacert {ca} --cert {certificate} {credentials.curl} {system.url}/backends\n")


def _stop(number: int, frame: FrameType | None) -> None:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped
