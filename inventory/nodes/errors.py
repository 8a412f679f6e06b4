"""The two ways in which a call to a storage node fails."""

from inventory.nodes.wire import RefusalCode


class NodeRefused(Exception):
    """The node answered no; nothing was done."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NodeUnreachable(Exception):
    """No usable answer in time; it may have been done. Repeat the call, or read back.

    ``is_fault``: of the node; False: our own limit or time ended the call before the node was
    asked, or before it had time to answer.
    """

    def __init__(self, message: str, *, is_fault: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.is_fault = is_fault
