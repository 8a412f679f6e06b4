"""A process that reads and writes files for the agent. It reads one JSON list per line, and writes
one JSON object for each.

A write to configfs waits in the kernel for I/O to drives, which may never end. Then this process
hangs, and the agent does not. It imports nothing of this project.
"""

import json
import os
import sys
from typing import Any


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - fast to start
        return file.read()


def write(path: str, text: str) -> None:
    """Write to an existing file. configfs and sysfs create their files themselves."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


METHODS: dict[str, Any] = {
    "read": read,
    "write": write,
    "make": os.mkdir,
    "remove": os.rmdir,
    "link": os.symlink,
    "unlink": os.unlink,
    "names": os.listdir,
    "exists": os.path.exists,
}


def answer(line: str) -> dict[str, Any]:
    """Execute the request in the line, and return the answer."""
    method, *arguments = json.loads(line)
    try:
        return {"result": METHODS[method](*arguments)}
    except OSError as error:
        return {"errno": error.errno, "path": error.filename}


if __name__ == "__main__":
    for request in sys.stdin:
        sys.stdout.write(json.dumps(answer(request)) + "\n")
        sys.stdout.flush()
