"""Child processes that end with their parent, even if the parent is killed."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(
    command: Sequence[str | os.PathLike[str]],
    *,
    output: IO[bytes],
    user: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child process that writes to ``output``. ``user``, ``environment``: the user id and
    the environment of the process.

    The child has its own session, so Ctrl-C reaches only the parent, which then stops the child.
    When the thread that started it ends, the kernel sends the child SIGTERM (on Linux).
    """
    return subprocess.Popen(  # noqa: S603 - the commands are ours
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - one C call, loaded before
        user=user,
        env=environment,
    )


def stop(
    process: subprocess.Popen[bytes],
    *,
    request: signal.Signals = signal.SIGTERM,
    seconds: float = 5.0,
) -> None:
    """Ask the child to end. After ``seconds``, kill the rest of its process group."""
    if process.poll() is None:
        process.send_signal(request)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
