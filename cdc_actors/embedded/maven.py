"""Servers in Java, from the artifacts that Maven fetches once for a user."""

from __future__ import annotations

import re
import shutil
import subprocess
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cdc_actors.embedded.cache import cached
from cdc_actors.embedded.process import run
from cdc_actors.embedded.server import EmbeddedServer
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

_FETCH_TIMEOUT = 900.0
_ANSWER_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A server in Java.

    Args:
        name: The server's, for messages and the folder.
        version: Its version.
        dependencies: Its section of a POM.
        java: The least version of Java that it runs with.
    """

    name: str
    version: str
    dependencies: str
    java: int

    def check(self) -> None:
        """Raise OperatorError where there is no Java that will do, or no Maven."""
        if (lack := self._lack()) is not None:
            raise OperatorError(
                f"needs Java from {self.java} on and Maven to start a {self.name}: {lack}"
            )

    def jars(self) -> Path:
        """Return the folder of its jars, fetched by Maven if they are not there yet.

        That is some 50 to 200 MB, and takes a minute.

        Raises:
            OperatorError: They cannot be fetched or kept; Maven's words are in the text.
        """
        return cached(f"{self.name.lower()}-{self.version}", self._fetch)

    def _lack(self) -> str | None:
        java, maven = shutil.which("java"), shutil.which("mvn")
        if java is None or maven is None:
            return f"there is no {'mvn' if java else 'java'} on the PATH"
        answer = subprocess.run(  # noqa: S603 - Java, whichever is first on the PATH
            [java, "-version"],
            capture_output=True,
            text=True,
            timeout=_ANSWER_TIMEOUT,
            check=False,
        )
        match = re.search(r'version "(\d+)', answer.stderr)
        if match is None or int(match[1]) < self.java:
            said = answer.stderr.strip().partition("\n")[0]
            return f"java -version says {said!r}"
        return None

    def _fetch(self, folder: Path) -> None:
        pom = folder / "pom.xml"
        pom.write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0">'
            "<modelVersion>4.0.0</modelVersion><groupId>cdc-actors</groupId>"
            f"<artifactId>{self.name.lower()}</artifactId><version>1</version>"
            f"<packaging>pom</packaging>{self.dependencies}</project>"
        )
        command = [
            *("mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"),
            *("-DincludeScope=runtime", f"-DoutputDirectory={folder}"),
        ]
        try:
            run(command, log=folder / "maven.log", timeout=_FETCH_TIMEOUT)
        except OperatorError as error:
            what = f"{self.name} {self.version}"
            raise OperatorError(f"{what} cannot be fetched: {error}") from error


class JavaServer(EmbeddedServer):
    """A server of an artifact.

    Raises:
        OperatorError: It cannot run here, for lack of Java or Maven.
    """

    artifact: ClassVar[Artifact]

    def __init__(self, folder: Path) -> None:
        self.artifact.check()
        super().__init__(folder)

    @property
    @abstractmethod
    def address(self) -> str:
        """What its clients connect to, as their settings name it."""

    @property
    def uri(self) -> str:
        """What its clients connect to."""
        return self.address
