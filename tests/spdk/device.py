"""The bytes of a drive: a sparse file in which data stays until something clears it."""

import ctypes
import os
from pathlib import Path

KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02

_libc = ctypes.CDLL(None, use_errno=True)


class Device:
    """``has_unmap``: unmapped blocks read as zeros. Otherwise unmapping does nothing."""

    def __init__(self, descriptor: int, *, has_unmap: bool) -> None:
        self._descriptor = descriptor
        self.has_unmap = has_unmap

    @classmethod
    def of_file(cls, path: Path, *, has_unmap: bool) -> "Device":
        """:raises OSError:"""
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC), has_unmap=has_unmap)

    @classmethod
    def of_memory(cls, size: int) -> "Device":
        descriptor = os.memfd_create("malloc")
        os.ftruncate(descriptor, size)
        return cls(descriptor, has_unmap=True)

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        return data.ljust(length, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        os.pwrite(self._descriptor, data, offset)

    def zero(self, offset: int, length: int) -> None:
        """Write zeros, whatever the device supports."""
        flags = ctypes.c_int(KEEP_SIZE_AND_PUNCH_HOLE)
        at, size = ctypes.c_longlong(offset), ctypes.c_longlong(length)
        if _libc.fallocate(ctypes.c_int(self._descriptor), flags, at, size):
            raise OSError(ctypes.get_errno(), "cannot punch a hole")

    def unmap(self, offset: int, length: int) -> None:
        if self.has_unmap:
            self.zero(offset, length)

    def is_hole(self, offset: int, length: int) -> bool:
        """Whether the range was never written. If this cannot be decided quickly, the result is
        False.
        """
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA) >= offset + length
        except OSError:
            return True

    def close(self) -> None:
        """All later accesses fail, as those of a drive that was removed."""
        os.close(self._descriptor)
        self._descriptor = -1
