"""The smallest plugin: it sends each message of its app back to the device that sent it."""

from balhost import Downstream, Plugin, Tx, Upstream, token

plugin = Plugin(
    "echo",  # also the name of the folder in the plugins folder
    version="1.0.0",
    categories=["com.example.echo"],  # the app's package name or bundle id
)


@plugin.upstream
def echo(tx: Tx, m: Upstream) -> None:
    # send sends nothing yet. When this handler returns, the host stores the answer and
    # the end of m in one commit. If the plugin dies before that, m comes again. The
    # device gets one answer.
    tx.send(Downstream(token(m.device), m.data))
