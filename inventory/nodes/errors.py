"""The two ways in which a call to a storage node can fail."""

from inventory.nodes.wire import RefusalCode


class NodeRefused(Exception):
    """The node refused the call; nothing was changed."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class NodeUnreachable(Exception):
    """No usable answer came in time. The change may have been made. Repeat the call, or read the
    node.

    ``is_fault``: whether the node caused the failure. False: a limit or deadline of this process
    ended the call before the request was sent, or before the node had time to answer.
    """

    def __init__(self, message: str, *, is_fault: bool = True) -> None:
        self.message = message.replace("\0", "\ufffd")  # PostgreSQL stores no NUL
        super().__init__(self.message)
        self.is_fault = is_fault
