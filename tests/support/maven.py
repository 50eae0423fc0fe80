"""Java servers for the tests, from Maven's artifacts."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_PATIENCE = 900


def jars(name: str, version: str, dependencies: str, *, java: int) -> Path:
    """Return the folder of a server's jars, fetched by Maven if they are not there yet.

    Skips the test, with the reason, where there is no Java from ``java`` on or no Maven.

    Args:
        name: The server's, for messages and the folder.
        version: Its version.
        dependencies: What stands in the POM about them.
        java: The least version of Java that it runs with.
    """
    reason = _why_not(java)
    if reason is not None:
        pytest.skip(f"no {name} broker: {reason}")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "cdc-actors"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{name.lower()}-{version}"
    with (cache / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(target, dependencies)
    return target


def _why_not(java: int) -> str | None:
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"no {program} here (needs Java from {java} on, and Maven)"
    answer = subprocess.run(
        ["java", "-version"], capture_output=True, text=True, timeout=60, check=False
    )
    match = re.search(r'version "(\d+)', answer.stderr)
    if match is None or int(match[1]) < java:
        return f"needs Java from {java} on, not {answer.stderr.strip()}"
    return None


def _fetch(target: Path, dependencies: str) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0">'
        "<modelVersion>4.0.0</modelVersion>"
        "<groupId>tests</groupId><artifactId>tests</artifactId><version>1</version>"
        f"<packaging>pom</packaging>{dependencies}</project>"
    )
    fetched = subprocess.run(
        [
            *("mvn", "-q", "-B", "-f", str(partial / "pom.xml")),
            "dependency:copy-dependencies",
            *("-DincludeScope=runtime", f"-DoutputDirectory={partial}"),
        ],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if fetched.returncode:
        pytest.fail(f"Maven cannot fetch {target.name}:\n{fetched.stdout[-2000:]}")
    partial.rename(target)
