"""Plugin describes one plugin: its name, what it takes, and its handlers."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, NewType, NoReturn, TypeVar, Union, overload

from ._host import AsyncHost, Host
from ._message import Outcome, Receipt, Timer, Upstream
from ._tx import AsyncTx, Tx
from ._wire import plugin_pb2 as pb

__all__ = ["Order", "Plugin", "order_by_device", "order_by_key", "order_none"]

C = TypeVar("C")
M = TypeVar("M")

Order = NewType("Order", str)
order_none = Order("none")
"""No order: each upstream has a lane of its own."""
order_by_device = Order("device")
"""The upstreams of one device come one after the other."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EVENTS = ("upstream", "outcome", "receipt", "timer")

UpstreamHandler = Union[Callable[[Tx, Upstream], None], Callable[[AsyncTx, Upstream], Awaitable[None]]]
OutcomeHandler = Union[Callable[[Tx, Outcome], None], Callable[[AsyncTx, Outcome], Awaitable[None]]]
ReceiptHandler = Union[Callable[[Tx, Receipt], None], Callable[[AsyncTx, Receipt], Awaitable[None]]]
TimerHandler = Union[Callable[[Tx, Timer], None], Callable[[AsyncTx, Timer], Awaitable[None]]]
WithHost = Union[Callable[[Host], None], Callable[[AsyncHost], Awaitable[None]]]
Alone = Union[Callable[[], None], Callable[[], Awaitable[None]]]
Text = Union[str, bytes]
TextFunction = Union[Callable[[], Text], Callable[[], Awaitable[Text]]]
H = TypeVar("H", bound=Callable[..., Any])
HU = TypeVar("HU", bound=UpstreamHandler)
HO = TypeVar("HO", bound=OutcomeHandler)
HR = TypeVar("HR", bound=ReceiptHandler)
HT = TypeVar("HT", bound=TimerHandler)
HH = TypeVar("HH", bound=WithHost)
HA = TypeVar("HA", bound=Alone)
HM = TypeVar("HM", bound=TextFunction)


def order_by_key(path: str) -> Order:
    """Upstreams with an equal value at path come one after the other.

    The path is names in the payload, joined by dots: "data.room". An upstream that has
    nothing there goes to its device's lane.
    """
    return Order("key:" + path)


class Plugin(Generic[C]):
    """One plugin. Its decorators name the handlers, and serve runs it.

    A handler is def, and runs on a thread, or async def, and runs on the plugin's one
    asyncio loop. How it ends decides:

    - it returns: the event is handled, and what the Tx holds is committed;
    - it raises Reject: nothing is committed. The event goes to the dead letters;
    - it raises Retry or anything else: nothing is committed. The event comes again.
    """

    @overload
    def __init__(
        self: Plugin[None],
        name: str,
        *,
        version: str,
        categories: Sequence[str] = ...,
        order: Order = ...,
        max_in_flight: int = ...,
        config: None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        *,
        version: str,
        categories: Sequence[str] = ...,
        order: Order = ...,
        max_in_flight: int = ...,
        config: type[C],
    ) -> None: ...
    def __init__(
        self,
        name: str,
        *,
        version: str,
        categories: Sequence[str] = (),
        order: Order = order_by_device,
        max_in_flight: int = 256,
        config: Any = None,
    ) -> None:
        """name is the plugin's identity, and the name of its file or folder in the host's
        plugins folder. categories are the apps whose upstreams it takes: package names or
        bundle ids; "*" takes what no other plugin claims. max_in_flight is how many
        handlers may run at once. config is a dataclass: before start the plugin's config
        object in config.hcl is read into one, and a wrong or unknown key is an error.
        """
        self.name = name
        self.version = version
        self.categories = [categories] if isinstance(categories, str) else list(categories)
        self.order = order
        self.max_in_flight = max_in_flight
        self._config_type = config
        self._config: C | None = None
        self._functions: dict[str, Callable[..., Any]] = {}

    @property
    def config(self) -> C:
        """The config, from start on."""
        if self._config is None and self._config_type is not None:
            raise RuntimeError("the config is there from start on, not when the module is imported")
        return self._config  # type: ignore[return-value]

    def upstream(self, handler: HU) -> HU:
        """Decorates the handler(tx, m) of messages of devices."""
        return self._set("upstream", handler)

    def outcome(self, handler: HO) -> HO:
        """Decorates the handler(tx, o) that is told how downstreams ended.

        It can run while the upstream handler handles a message of the same device.
        """
        return self._set("outcome", handler)

    def receipt(self, handler: HR) -> HR:
        """Decorates the handler(tx, r) that is told that a device has got a downstream."""
        return self._set("receipt", handler)

    def timer(self, handler: HT) -> HT:
        """Decorates the handler(tx, t) of timers that Tx.schedule has set."""
        return self._set("timer", handler)

    def start(self, function: HH) -> HH:
        """Decorates the function(host) that prepares the plugin.

        If it raises, the host stops this process and shows the error. It can run while an
        older process of the plugin still serves.
        """
        return self._set("start", function)

    def run(self, function: HH) -> HH:
        """Decorates the function(host) for pollers, and for all that goes on between events.

        It never runs in two processes at once. It should return when the plugin stops: see
        Host.sleep and Host.stopping; an async one is canceled. When it returns, it is not
        started again. After an error it is, after a delay that grows up to a minute.
        """
        return self._set("run", function)

    def stop(self, function: HA) -> HA:
        """Decorates the function() that is called once, after run and all handlers have ended."""
        return self._set("stop", function)

    def metrics(self, function: HM) -> HM:
        """Decorates the function() that returns metrics of the plugin's own.

        They are Prometheus's text, such as generate_latest(registry) of prometheus_client
        makes it: a str or bytes. The host asks for them when it is scraped, and gives them on
        with the label plugin. It waits a second, and takes 1 MiB and 2,000 series at most, no
        label named plugin, and no names that begin with balhost_, go_, process_ or scrape_, and
        none called up, which Prometheus makes itself. Calls don't overlap.
        """
        return self._set("metrics", function)

    def serve(self) -> NoReturn:
        """Serves the host that started this process, until the host stops it, and exits.

        It is the last line of a plugin. If a person starts the plugin by hand, it prints
        what to do instead.
        """
        from ._process import serve  # gRPC is loaded only here: tests do without

        serve(self)

    def has(self, event: str) -> bool:
        """Whether there is a function for an event, or for "start", "run", "stop" and "metrics"."""
        return event in self._functions

    def _set(self, what: str, function: H) -> H:
        if what in self._functions:
            raise TypeError(
                f"plugin {self.name} has two functions for {what}: {self._functions[what].__name__} is the first"
            )
        if not callable(function):
            raise TypeError(
                f"plugin {self.name}: {what} is {type(function).__name__}: decorate a function with @plugin.{what}"
            )
        self._functions[what] = function
        return function

    def _manifest(self, host_has: Sequence[str]) -> pb.Manifest:
        return pb.Manifest(
            name=self.name,
            version=self.version,
            capabilities=[c for c in self._capabilities() if c in host_has],
            categories=self.categories,
            order=self.order,
            **{event: self.has(event) for event in _EVENTS},
        )

    def _capabilities(self) -> list[str]:
        """What this SDK can do with this plugin."""
        return ["offsets", "metrics"] if self.has("metrics") else ["offsets"]

    def _problem(self) -> str:
        """What is wrong with the plugin. Empty: nothing."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            return (
                f"the plugin's name is {self.name!r}: it has only letters, digits, '_' and '-', 64 at most,"
                " and begins with a letter or digit"
            )
        if not any(self.has(what) for what in (*_EVENTS, "run")):
            return "it does nothing: give it a function with @plugin.upstream, outcome, receipt, timer or run"
        if not isinstance(self.version, str) or len(self.version) > 128:
            return "its version must be a str of at most 128 characters"
        if self.categories and not self.has("upstream"):
            return "it claims categories but has no upstream handler: add one with @plugin.upstream, or claim none"
        for c in self.categories:
            if not isinstance(c, str) or not c or c != c.strip() or self.categories.count(c) > 1:
                return f'its category {c!r} is wrong or there twice: write an app\'s package name or bundle id, or "*"'
        if self.order not in (order_none, order_by_device) and not (
            self.order.startswith("key:") and all(self.order[4:].split("."))
        ):
            return (
                f'its order is {self.order!r}: use order_by_device, order_by_key("data.room") or order_none'
            )
        if not 1 <= self.max_in_flight <= 1 << 16:
            return f"its max_in_flight is {self.max_in_flight}: use 1 to 65536"
        if self._config_type is not None and not (
            isinstance(self._config_type, type) and dataclasses.is_dataclass(self._config_type)
        ):
            return f"its config is {self._config_type!r}: give a dataclass"
        return ""


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a function is declared with async def."""
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)
    )
