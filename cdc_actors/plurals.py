"""Counted things in words."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts, such as ``1 row`` and ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
