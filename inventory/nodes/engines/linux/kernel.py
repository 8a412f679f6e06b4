"""The interface to the kernel and the commands of the machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

COMMAND_SECONDS = 60.0


class Stuck(Exception):
    """There was no answer in time. The operation may be done, may still run, or may hang in the
    kernel.
    """


class CommandFailed(Exception):
    """The command ended with an error. Read the state back, because the command may have failed
    halfway.
    """

    def __init__(self, command: tuple[str, ...], code: int, text: str) -> None:
        super().__init__(f"{' '.join(command[:2])}: {text.strip() or f'exit status {code}'}")
        self.code = code
        self.text = text


class NotAsAsked(Exception):
    """The operation reported success but the result differs, or something that must exist is
    missing.
    """


@dataclass(frozen=True)
class Output:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


class Kernel(Protocol):
    """The operations of the machine that the engine uses. Paths are absolute.

    For files see :mod:`.file_worker`. Each method for files raises OSError or Stuck.
    """

    async def run(self, *command: str, text: str = "", seconds: float = COMMAND_SECONDS) -> Output:
        """Run a command without a shell. ``text`` is its input. The command is not killed if the
        caller is cancelled; it then continues to its end.

        :raises Stuck: it did not end in time. It was asked to end, but may still do its work.
        """

    async def read(self, path: str) -> str:
        """Return the content of a file without surrounding white space."""

    async def write(self, path: str, text: str) -> None:
        """Write to a file that exists."""

    async def make(self, path: str) -> None:
        """Create a folder."""

    async def remove(self, path: str) -> None:
        """Remove an empty folder."""

    async def link(self, to: str, path: str) -> None:
        """Create a symbolic link."""

    async def unlink(self, path: str) -> None:
        """Remove a symbolic link."""

    async def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""

    async def exists(self, path: str) -> bool:
        """Whether there is a file, folder or device."""

    async def copy(
        self, source: str, to: str, *, start: int, end: int, note: Callable[[int], None]
    ) -> None:
        """Copy the bytes from ``start`` to ``end`` of one block device to another, except chunks
        that read as zeros. Each written chunk is read back. ``note`` is called with the offset up
        to which everything is durable.

        :raises CommandFailed: the copy failed, or the data that was read back differs.
        """

    def close(self) -> None:
        """End the processes that this object started."""
