"""Writes the records of Python's logging as the host reads them: hclog's JSON, on stderr."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import TextIO

TRACE = 5
_LEVELS = {"trace": TRACE, "debug": 10, "info": 20, "warn": 30, "error": 40, "off": 100}
_USUAL = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Handler):
    """Writes each record as one line. Its extra fields are fields of the line."""

    def __init__(self, to: TextIO) -> None:
        super().__init__()
        self._to = to

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._to.write(line(record))
            self._to.flush()
        except Exception:  # nobody reads the log any more, or a field cannot be written
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def line(record: logging.LogRecord) -> str:
    """The line of JSON for a record."""
    fields: dict[str, object] = {
        "@level": _level_name(record.levelno),
        "@message": record.getMessage(),
        "@module": record.name,
    }
    fields.update((k, v) for k, v in vars(record).items() if k not in _USUAL)
    if record.exc_info and record.exc_info[0]:
        fields["stack"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
    elif record.stack_info:
        fields["stack"] = record.stack_info
    return json.dumps(fields, default=str) + "\n"  # ASCII, so a half pair harms nobody


def _level_name(level: int) -> str:
    for name in "error", "warn", "info", "debug":
        if level >= _LEVELS[name]:
            return name
    return "trace"


def install() -> None:
    """Makes all loggers of this process write for the host."""
    root = logging.getLogger()
    root.handlers[:] = [Lines(sys.stderr)]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def set_level(level: str) -> None:
    """Sets the level that the host asks for."""
    if level in _LEVELS:
        logging.getLogger().setLevel(_LEVELS[level])
