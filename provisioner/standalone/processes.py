"""Child processes that never outlive their parent, however it dies."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import IO, Any

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Of a child, before it runs its program: the kernel sends it SIGTERM when its parent dies.

    The parent is the thread that starts it: start such children from one that stays.
    """
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def start(
    command: Sequence[str | os.PathLike[str]],
    *,
    output: IO[bytes] | None = None,
    user: int | None = None,
    before: Callable[[], None] = end_with_parent,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own: Ctrl-C reaches the parent alone, which then stops it.

    ``output`` takes what it prints (default: where the parent prints); ``user`` is the id it runs as.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        preexec_fn=before,
        user=user,
        **options,
    )


def stop(
    process: subprocess.Popen[bytes],
    *,
    request: signal.Signals = signal.SIGTERM,
    seconds: float = 5.0,
) -> None:
    """Ask the child to end; what is left of its process group after ``seconds`` is killed."""
    if process.poll() is None:
        process.send_signal(request)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
