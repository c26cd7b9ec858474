"""JSON as the host has it: UTF-8, without half surrogate pairs, NaN and Infinity."""

from __future__ import annotations

import json
from typing import Any

from ._errors import InvalidError

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_decode = json.JSONDecoder().decode


def dump(value: Any) -> bytes:
    """JSON text of a value, or InvalidError."""
    try:
        return _encoder.encode(value).encode()
    except UnicodeEncodeError as e:
        raise InvalidError(half(e)) from None
    except TypeError as e:
        raise InvalidError(
            f"{e}: give dict, list, str, int, float, bool or None;"
            " dataclasses.asdict makes a dict of a dataclass"
        ) from None
    except ValueError as e:  # NaN, or a value inside of itself
        raise InvalidError(f"it cannot be JSON: {e}") from None
    except RecursionError:
        raise InvalidError("it cannot be JSON: it is nested too deep") from None


def load(text: bytes) -> Any:
    """The value of JSON text that comes from the host."""
    return _decode(text.decode())


def half(e: UnicodeEncodeError) -> str:
    """Words for a text that is not UTF-8."""
    return (
        f"has half a surrogate pair (U+{ord(e.object[e.start]):04X}): do not cut text inside"
        " a character; encode bytes as base64"
    )
