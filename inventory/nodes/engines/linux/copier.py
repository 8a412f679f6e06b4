"""A process that copies from one block device to another: ``copier.py SOURCE TO START END``.

Chunks that read as zeros are skipped. Each written chunk is flushed, read back without the cache,
and compared. Every STEP bytes, the process writes a line with the offset up to which everything is
durable. It imports nothing of this project, and ends with its parent.
"""

import ctypes
import mmap
import os
import signal
import sys

CHUNK = 2**20
STEP = 64 * 2**20
PR_SET_PDEATHSIG = 1


def main(source: str, to: str, start: int, end: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    reading = os.open(source, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    writing = os.open(to, os.O_RDWR | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC)
    buffer, again = mmap.mmap(-1, CHUNK), mmap.mmap(-1, CHUNK)
    zeros = bytes(CHUNK)
    for offset in range(start, end, CHUNK):
        length = min(CHUNK, end - offset)
        _read(reading, buffer, offset, length)
        if buffer[:length] != zeros[:length]:
            _write(writing, buffer, offset, length)
            _read(writing, again, offset, length)
            if again[:length] != buffer[:length]:
                sys.exit(f"{to} reads differently at byte {offset} after it was written")
        if (offset + length) % STEP == 0 or offset + length == end:
            sys.stdout.write(f"{offset + length}\n")
            sys.stdout.flush()


def _read(descriptor: int, buffer: mmap.mmap, offset: int, length: int) -> None:
    with memoryview(buffer) as view:
        done = os.preadv(descriptor, [view[:length]], offset)
    if done != length:
        sys.exit(f"{done} bytes of {length} at {offset} were read")


def _write(descriptor: int, buffer: mmap.mmap, offset: int, length: int) -> None:
    with memoryview(buffer) as view:
        done = os.pwritev(descriptor, [view[:length]], offset)
    if done != length:
        sys.exit(f"{done} bytes of {length} at {offset} were written")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    except OSError as error:
        sys.exit(f"{error.filename or ''} {error.strerror}".strip())
