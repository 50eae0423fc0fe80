"""Requests at the target that count as done once what they ask for is so."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cdc_actors.errors import OperationRefusedError, UnclearAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def done_if(outcome: Callable[[], bool]) -> Iterator[None]:
    """Pass over a refusal, be it clear or not, of what is so already."""
    try:
        yield
    except (OperationRefusedError, UnclearAnswerError):
        if not outcome():
            raise
