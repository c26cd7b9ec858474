"""The process: PROTOCOL.md §1 step 1, and what a person sees who starts a plugin by hand.

TLS, the calls of the host and its stop are tried with the real host, by balhost plugin check.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SRC = str(Path(__file__).parent.parent / "src")


def started(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": SRC, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


GOOD = """
from balhost import Plugin
plugin = Plugin("echo", version="1.0.0", categories=["app"])
plugin.upstream(lambda tx, m: None)
plugin.serve()
"""


def test_by_hand() -> None:
    p = started(GOOD)
    assert p.returncode == 2
    assert p.stdout == ""
    assert "echo 1.0.0 is a plugin of balhost" in p.stderr


def test_a_plugin_that_is_wrong() -> None:
    p = started(GOOD.replace("echo", "e c h o"))
    assert p.returncode == 1
    assert "can't run: the plugin's name is" in p.stderr


def test_tests_need_no_grpc() -> None:
    assert started("import sys, balhost.testing; sys.exit('grpc' in sys.modules)").returncode == 0
