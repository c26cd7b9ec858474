"""The SDK for plugins of balhost in Python.

    from balhost import Downstream, Plugin, Tx, Upstream, token

    plugin = Plugin("echo", version="1.0.0", categories=["com.example.echo"])

    @plugin.upstream
    def echo(tx: Tx, m: Upstream) -> None:
        tx.send(Downstream(token(m.device), m.data))

    if __name__ == "__main__":
        plugin.serve()

Start at Plugin and Tx. Test your plugin with balhost.testing.
"""

from ._errors import CanceledError, InvalidError, Reject, Retry, UnavailableError
from ._host import AsyncHost, Host
from ._message import (
    Downstream,
    Options,
    Outcome,
    Receipt,
    Target,
    Timer,
    Upstream,
    condition,
    fid,
    token,
    topic,
)
from ._plugin import Order, Plugin, order_by_device, order_by_key, order_none
from ._tx import AsyncTx, Item, Lane, Tx, in_lane, in_lane_of

__all__ = [
    "AsyncHost",
    "AsyncTx",
    "CanceledError",
    "Downstream",
    "Host",
    "InvalidError",
    "Item",
    "Lane",
    "Options",
    "Order",
    "Outcome",
    "Plugin",
    "Receipt",
    "Reject",
    "Retry",
    "Target",
    "Timer",
    "Tx",
    "UnavailableError",
    "Upstream",
    "condition",
    "fid",
    "in_lane",
    "in_lane_of",
    "order_by_device",
    "order_by_key",
    "order_none",
    "token",
    "topic",
]
