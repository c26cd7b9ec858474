"""The plugin's own metrics, for a host that is scraped: PROTOCOL.md §6, the capability metrics."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ._errors import InvalidError, UnavailableError

MAX_BYTES = 1 << 20  # that the host takes


class Metrics:
    """Asks for them. Calls don't overlap: one that hangs is there once, however often a host is scraped."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._asking = threading.Lock()
        self._logged = ""  # the last failure: one that comes at each scrape is logged once

    def ask(self, function: Callable[[], Any]) -> bytes:
        """The text that function returns, in UTF-8."""
        if not self._asking.acquire(blocking=False):
            raise UnavailableError("the last call of metrics has not returned yet")
        try:
            text = _bytes(function())
        except Exception as e:
            if self._logged != repr(e):
                self._logged = repr(e)
                self._log.error("metrics failed", exc_info=e)
            raise
        else:
            self._logged = ""
            return text
        finally:
            self._asking.release()


def _bytes(returned: object) -> bytes:
    text = returned.encode() if isinstance(returned, str) else returned
    if not isinstance(text, bytes):
        raise TypeError(
            f"metrics returned a {type(returned).__name__}: return Prometheus's text, a str or bytes"
        )
    if len(text) > MAX_BYTES:
        raise InvalidError(
            f"metrics have {len(text)} bytes, at most {MAX_BYTES} are possible: use fewer labels"
        )
    return text
