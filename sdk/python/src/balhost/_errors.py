"""What a handler raises to end its event, and what the calls of Tx and Host raise."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["CanceledError", "InvalidError", "Reject", "Retry", "UnavailableError"]


class Reject(Exception):
    """Raised by a handler, it sends the event to the dead letters at once.

    The event stays there, with the reason, until a person replays or deletes it. Use it when
    no later attempt can succeed.
    """

    def __init__(self, reason: object = "the plugin rejected the event") -> None:
        super().__init__(str(reason))


class Retry(Exception):
    """Raised by a handler, it asks for the event again, as any other error does.

    after is a timedelta, or a number of seconds: the event comes not before that has passed.
    With None the host's backoff decides. The attempt counts.
    """

    def __init__(
        self,
        after: timedelta | float | None = None,
        reason: object = "the plugin asked for a retry",
    ) -> None:
        super().__init__(str(reason))
        self.after = after


class InvalidError(ValueError):
    """This call can never work. The text says what is wrong, and what to do.

    If a handler lets it through, the event is tried again, as after any other error: the
    fault may be in the handler's code, and a new version of the plugin then handles the
    event. If the event itself is at fault, raise Reject, so that its lane goes on.
    """


class UnavailableError(Exception):
    """The host can't do it now: its disk is filling up, or it is stopping.

    The same call may work later. After Host.send, message_id is the id under which to send it
    again: it then goes out at most once.
    """

    message_id: str = ""


class CanceledError(Exception):
    """The time of the handler, or of the plugin's run, is over. The text says why.

    Calls of Tx and sleep raise it. Let it through: the host then gives the event again.
    """
