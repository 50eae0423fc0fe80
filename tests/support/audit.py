"""``cdc-actors audit`` as an operator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def audit(config: Path, *arguments: str, status: int = 0, **environ: str) -> str:
    """Run it with a configuration; return what it printed."""
    command = [sys.executable, "-m", "cdc_actors", "audit", *arguments]
    done = subprocess.run(
        [*command, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environ,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout
