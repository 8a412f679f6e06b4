"""A drive as a kernel block device, before SPDK takes it over."""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from inventory.nodes.engines.spdk.drives import NotUsable

BLKDISCARD = 0x1277
KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02

_libc = ctypes.CDLL(None, use_errno=True)


class KernelDrive:
    """A block device that is opened exclusively, or a file that is used as a drive.

    :raises NotUsable: the path is neither, or the device is in use.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = _open(path)
        except OSError as error:
            raise NotUsable(f"{path}: {error.strerror}") from error
        mode = os.fstat(self._descriptor).st_mode
        self._is_device = stat.S_ISBLK(mode)
        if not self._is_device and not stat.S_ISREG(mode):
            self.close()
            raise NotUsable(f"{path} is neither a block device nor a file")
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Open the drive for the block."""
        drive = cls(path)
        try:
            yield drive
        finally:
            drive.close()

    def close(self) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        with mmap.mmap(-1, length) as buffer:
            done = os.preadv(self._descriptor, [buffer], offset)
            if done != length:
                raise OSError(errno.EIO, f"{done} bytes of {length} at {offset} were read")
            return bytes(buffer)

    def write(self, offset: int, data: bytes) -> None:
        with mmap.mmap(-1, len(data)) as buffer:
            buffer[:] = data
            done = os.pwritev(self._descriptor, [buffer], offset)
        if done != len(data):
            raise OSError(errno.EIO, f"{done} bytes of {len(data)} at {offset} were written")

    def discard(self, offset: int, length: int) -> None:
        if self._is_device:
            fcntl.ioctl(self._descriptor, BLKDISCARD, struct.pack("QQ", offset, length))
            return
        flags = ctypes.c_int(KEEP_SIZE_AND_PUNCH_HOLE)
        at, size = ctypes.c_longlong(offset), ctypes.c_longlong(length)
        if _libc.fallocate(ctypes.c_int(self._descriptor), flags, at, size):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _open(path: Path) -> int:
    """Open without the page cache, if the file system supports that."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_DSYNC
    if path.is_block_device():
        flags |= os.O_EXCL
    try:
        return os.open(path, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags)
