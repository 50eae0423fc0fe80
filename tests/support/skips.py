"""Tests of servers that cannot run here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def or_skip() -> Iterator[None]:
    """Skip the test, with the reason, where there is an OperatorError."""
    try:
        yield
    except OperatorError as reason:
        pytest.skip(str(reason))
