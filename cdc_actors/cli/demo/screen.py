"""What the demo shows: a line for each step, and on a terminal what it is just doing."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

_LABEL = 10
_TEXT = 62
_TICK = 0.1
_LONG = 5.0
_ERASE = "\r\x1b[K"


class Step:
    """What a step is doing, and what came of it. The clock runs from its making."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.text = ""
        self._began = time.monotonic()

    def show(self, text: str) -> None:
        """Say what it is doing, or at its end what it did."""
        self.text = text

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began


class Screen:
    """Standard output.

    A terminal shows what a step is doing while it does it; other outputs get whole lines
    only, one more where a step takes long.
    """

    def __init__(self) -> None:
        self._live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._live and not os.environ.get("NO_COLOR")

    def say(self, *lines: str) -> None:
        """Print lines."""
        click.echo("\n".join(lines))

    def verdict(self, text: str, *, good: bool) -> None:
        """Print what it all came to."""
        self.say(self._styled(text, "green" if good else "red"))

    @contextmanager
    def step(self, label: str, *, worth: float = 0.0) -> Iterator[Step]:
        """Show a step while it runs, and afterwards its last text and its time.

        Nothing stays of one that took less than ``worth`` seconds, or that failed: the
        error says what it was.
        """
        step = Step(label)
        ended = threading.Event()
        watch = self._tick if self._live else self._announce
        watcher = threading.Thread(target=watch, args=(step, ended), daemon=True)
        watcher.start()
        try:
            yield step
        finally:
            ended.set()
            watcher.join()
        if step.seconds >= worth:
            self._line(step)

    def _tick(self, step: Step, ended: threading.Event) -> None:
        while not ended.wait(_TICK):
            width = shutil.get_terminal_size().columns - 1
            line = f"{step.label:{_LABEL}}{step.text} ... {step.seconds:.0f} s"
            click.echo(_ERASE + line[:width], nl=False)
        click.echo(_ERASE, nl=False)

    def _announce(self, step: Step, ended: threading.Event) -> None:
        if not ended.wait(_LONG):
            self.say(f"{step.label:{_LABEL}}{step.text} ...")

    def _line(self, step: Step) -> None:
        label = self._styled(f"{step.label:{_LABEL}}", "green")
        self.say(f"{label}{step.text:{_TEXT}} {step.seconds:5.1f} s")

    def _styled(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour, bold=True) if self._colours else text
