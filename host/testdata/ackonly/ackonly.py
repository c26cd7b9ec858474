"""A plugin for measurements: every handler is done at once."""

from balhost import Plugin, Tx, Upstream

plugin = Plugin("ackonly", version="1.0.0", categories=["com.example.bench"])


@plugin.upstream
def done(tx: Tx, m: Upstream) -> None:
    pass
