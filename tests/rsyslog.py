"""A private rsyslog for the tests. It uses free ports and its own settings, and runs as nobody."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

from provisioner.standalone import processes
from tests.servers import free_port
from tests.waiting import eventually

WAIT_SECONDS = 20.0

SETTINGS = """
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imudp")
module(load="imtcp")
template(name="fields" type="list" option.jsonf="on") {{
    property(outname="raw" name="rawmsg" format="jsonf")
    property(outname="priority" name="pri" format="jsonf")
    property(outname="version" name="protocol-version" format="jsonf")
    property(outname="at" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app_name" name="app-name" format="jsonf")
    property(outname="process" name="procid" format="jsonf")
    property(outname="logging_type" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="message" name="msg" format="jsonf")
    property(outname="transport" name="inputname" format="jsonf")
}}
ruleset(name="all") {{
    action(type="omfile" file="{folder}/records" template="fields" asyncWriting="off")
}}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all" name="udp")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all" name="tcp")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="all" name="tls"
      streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
"""


class Rsyslog:
    """An rsyslog that writes each record, parsed and raw, to a file. ``start`` may be called
    several times.
    """

    def __init__(self, program: Path, folder: Path, certificate: Path, key: Path, ca: Path) -> None:
        self.ports: Final = {name: free_port() for name in ("udp", "tcp", "tls")}
        self._folder = folder
        self._seen = 0
        self._process: subprocess.Popen[bytes] | None = None
        own = {
            name: folder / path.name for name, path in (("certificate", certificate), ("ca", ca))
        }
        shutil.copy(certificate, own["certificate"])
        shutil.copy(ca, own["ca"])
        own["key"] = Path(shutil.copy(key, folder / "key.pem"))
        # a copy, because AppArmor denies the installed program access to such files
        self._program = shutil.copy(program, folder / "rsyslogd")
        settings = SETTINGS.format(folder=folder, **own, **self.ports)
        (folder / "rsyslog.conf").write_text(settings)
        self._user = _given_to_nobody(folder)

    def url(self, transport: str) -> str:
        return f"{transport}://127.0.0.1:{self.ports[transport]}"

    def start(self) -> None:
        command = [self._program, "-n", "-f", str(self._folder / "rsyslog.conf")]
        command += ["-i", str(self._folder / "pid")]
        with (self._folder / "log").open("ab") as output:
            self._process = processes.start(command, output=output, user=self._user)
        eventually(
            self._listens,
            seconds=WAIT_SECONDS,
            what=lambda: (self._folder / "log").read_text(errors="replace")[-2000:],
        )

    def stop(self) -> None:
        if self._process is not None:
            processes.stop(self._process, request=signal.SIGTERM)

    def forget(self) -> None:
        """Discard the records that have arrived until now."""
        self._seen += len(self._lines())

    def records(self, count: int) -> list[dict[str, Any]]:
        """Wait for ``count`` records or more, and return them."""
        eventually(
            lambda: len(self._lines()) >= count,
            seconds=WAIT_SECONDS,
            what=lambda: f"{self._lines()} of {count}",
        )
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[bytes]:
        path = self._folder / "records"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return lines[self._seen :]

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text(errors="replace")
        udp = f":{self.ports['udp']:04X} "
        return (
            all(_accepts(self.ports[name]) for name in ("tcp", "tls"))
            and udp in Path("/proc/net/udp").read_text()
        )


def _given_to_nobody(folder: Path) -> int | None:
    """Give the folder to the account nobody if the tests run as root, because rsyslog then runs as
    nobody.
    """
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody").pw_uid
    for path in (folder, *folder.iterdir()):
        os.chown(path, account, -1)
    return account


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
