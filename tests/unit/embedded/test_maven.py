"""What is fetched once for a user, and what is said where Java or Maven will not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_actors.embedded.cache import cached
from cdc_actors.embedded.maven import Artifact
from cdc_actors.errors import OperatorError

ARTIFACT = Artifact(name="Thing", version="1.2", dependencies="<these/>", java=17)
GOOD_JAVA = "echo 'openjdk version \"17.0.9\" 2023-10-17' >&2"
OLD_JAVA = "echo 'java version \"1.8.0_202\"' >&2; echo more >&2"
NO_JAVA = "echo 'Unable to locate a Java Runtime.' >&2; exit 1"
MAVEN = 'for last; do :; done; touch "${last#-DoutputDirectory=}/thing.jar"'
BROKEN_MAVEN = "echo 'Unknown host repo.maven.apache.org'; exit 1"


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of all programs that there are, with a cache beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return folder


def program(path: Path, script: str) -> None:
    """Write a shell script that stands for a program."""
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


def names(folder: Path) -> set[str]:
    """Return what is in a folder."""
    return {each.name for each in folder.iterdir()}


@pytest.mark.parametrize(
    ("java", "maven", "lack"),
    [
        (None, MAVEN, "there is no java on the PATH"),
        (GOOD_JAVA, None, "there is no mvn on the PATH"),
        (OLD_JAVA, MAVEN, "java -version says 'java version \"1.8.0_202\"'"),
        (NO_JAVA, MAVEN, "java -version says 'Unable to locate a Java Runtime.'"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    programs: Path, java: str | None, maven: str | None, lack: str
) -> None:
    """What it takes, and what of it is not there."""
    for name, script in (("java", java), ("mvn", maven)):
        if script:
            program(programs / name, script)
    with pytest.raises(OperatorError) as raised:
        ARTIFACT.check()
    assert str(raised.value) == (
        f"needs Java from 17 on and Maven to start a Thing: {lack}"
    )


def test_jars_are_fetched_once(programs: Path, tmp_path: Path) -> None:
    """Maven is asked the first time only."""
    program(programs / "java", GOOD_JAVA)
    program(programs / "mvn", MAVEN)
    ARTIFACT.check()
    folder = ARTIFACT.jars()
    (programs / "mvn").unlink()

    assert folder == ARTIFACT.jars() == tmp_path / "cdc-actors" / "thing-1.2"
    assert (folder / "thing.jar").exists()
    assert "<these/>" in (folder / "pom.xml").read_text()


def test_mavens_words_are_in_the_error(programs: Path) -> None:
    """A fetch that fails says why, leaves nothing half done, and may be tried again."""
    program(programs / "mvn", BROKEN_MAVEN)
    with pytest.raises(
        OperatorError, match=r"Thing 1.2 cannot be.* with 1.*\nUnknown host repo"
    ):
        ARTIFACT.jars()
    program(programs / "mvn", MAVEN)
    assert names(ARTIFACT.jars()) == {"maven.log", "pom.xml", "thing.jar"}


def test_a_half_filled_folder_is_begun_anew() -> None:
    """Whoever was ended in the middle leaves nothing that is taken for whole."""

    def half(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("thing", half)
    folder = cached("thing", lambda folder: (folder / "whole").touch())
    assert names(folder) == {"whole"}


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """The folder and the system's reason are in the error."""
    (tmp_path / "cdc-actors").touch()
    with pytest.raises(OperatorError, match=r"Cannot make .*/thing: .*File exists"):
        cached("thing", Path.touch)
