"""The two ways in which a call to a storage node fails."""

from inventory.nodes.wire import RefusalCode


class NodeRefused(Exception):
    """The node answered no; nothing was done."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NodeUnreachable(Exception):
    """No usable answer in time; it may have been done. Repeat the call, or read back."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
