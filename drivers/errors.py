"""What can go wrong with a line, divided by what the catcher can do about it."""


class LineError(Exception):
    """A line did not do what was asked of it."""


class CommandError(LineError):
    """The modem refused; the dialogue is still in step: report it and go on.

    `result` is the final result as it came (`+CME ERROR: 10`, `NO CARRIER`), `command` what was sent.
    """

    def __init__(self, command: str, result: str) -> None:
        super().__init__(f"{command}: {result}")
        self.command = command
        self.result = result


class CommandTimeout(LineError):
    """No final result in the command's own limit. A live call goes on; the next rung of recovery is the caller's."""


class LineLost(LineError):
    """The port is gone or out of step: close it and open it anew; where that does not help, a reset may.

    `silent_since`, by trio's clock: when the device was asked what it has not answered any more. None: it is lost for
    another reason.
    """

    def __init__(self, why: str, *, silent_since: float | None = None) -> None:
        super().__init__(why)
        self.silent_since = silent_since


class LineAbsent(LineLost):
    """There is nothing that could be reset: wait for the device."""


class LineBlocked(LineLost):
    """Only a person can help: with a SIM, a permission, the other program that has the port. A reset would not."""
