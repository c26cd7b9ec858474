"""Makes the plugin's config, a dataclass, of the JSON object that config.hcl has for it."""

from __future__ import annotations

import dataclasses
import json
import re
import types
from datetime import timedelta
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["ConfigError", "decode"]

_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class ConfigError(Exception):
    """The config is wrong. The text is for the person who writes config.hcl."""


def decode(text: bytes, into: type | None) -> Any:
    """The config as an instance of the dataclass into, or None without one."""
    try:
        value = json.loads(text.decode() or "{}")
    except ValueError as e:
        raise ConfigError(f"config: {e}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"config: it is of type {_named(value)}, but must be an object")
    if into is None:
        if value:
            raise ConfigError(f"config: this plugin has no key {next(iter(value))!r}: it has no config")
        return None
    return _object(value, into, "")


def _object(value: dict[str, Any], into: Any, path: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(into) if f.init}
    for key in value:
        if key not in fields:
            raise ConfigError(
                f"config: this plugin has no key {path + key!r}; it has {', '.join(sorted(fields)) or 'none'}"
            )
    hints = get_type_hints(into)
    given = {key: _value(v, hints[key], path + key) for key, v in value.items()}
    for name, f in fields.items():
        has_default = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        if name not in given and not has_default:
            raise ConfigError(f"config: the key {path + name!r} is missing")
    try:
        return into(**given)
    except (ValueError, TypeError) as e:  # of the author's __post_init__
        raise ConfigError(f"config: {path.rstrip('.') + ': ' if path else ''}{e}") from e


def _value(value: Any, hint: Any, path: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union(value, args, path)
    if origin is Literal:
        if not any(value == a and type(value) is type(a) for a in args):
            raise ConfigError(
                f"config: key {path!r} is {value!r}, but must be one of {', '.join(map(repr, args))}"
            )
        return value
    if hint is timedelta:
        return _duration(value, path)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise _wrong(value, "object", path)
        return _object(value, hint, path + ".")
    kind = origin or hint
    if kind is float and type(value) is int:
        return float(value)
    if kind in _JSON_NAMES:
        if type(value) is not kind:
            raise _wrong(value, "whole number" if kind is int else _JSON_NAMES[kind], path)
        if kind is list and args:
            return [_value(v, args[0], f"{path}[{i}]") for i, v in enumerate(value)]
        if kind is dict and args:
            return {k: _value(v, args[1], f"{path}.{k}") for k, v in value.items()}
        return value
    raise TypeError(
        f"config: the field {path!r} has the type {hint}: use bool, int, float, str, list[...], dict[str, ...],"
        " timedelta, Literal[...], a dataclass, or one of these | None"
    )


def _union(value: Any, args: tuple[Any, ...], path: str) -> Any:
    if value is None and type(None) in args:
        return None
    wrong: ConfigError | None = None
    for hint in args:
        if hint is not type(None):
            try:
                return _value(value, hint, path)
            except ConfigError as e:
                wrong = wrong or e
    raise wrong or _wrong(value, "null", path)


def _duration(value: Any, path: str) -> timedelta:
    text = value[1:] if isinstance(value, str) and value[:1] in ("+", "-") else value
    if text == "0":
        return timedelta()
    if not isinstance(text, str) or not re.fullmatch(f"({_PART.pattern})+", text):
        raise ConfigError(f'config: key {path!r} is {value!r}, not a duration: write it like "1m30s"')
    size = timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text)))
    return -size if value.startswith("-") else size


def _named(value: Any) -> str:
    return "null" if value is None else _JSON_NAMES[type(value)]


def _wrong(value: Any, want: str, path: str) -> ConfigError:
    return ConfigError(f"config: key {path!r} is of type {_named(value)}, but must be of type {want}")
