"""``cdc-actors task watch``: the state of a task as it changes."""

from __future__ import annotations

import math
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from cdc_actors.cli.api import api_options
from cdc_actors.cli.output import (
    NOT_READY,
    dump_line,
    is_read,
    output_option,
    problems,
)
from cdc_actors.cli.task_cmd import row_of, task_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.cli.api import Api

SETTLE_SECONDS = 3.0
"""How long a task must have come to rest before ``watch --until`` gives up."""

MOST_SECONDS = 3600.0
"""How long ``watch`` may leave the service alone."""

BAR_WIDTH = 20

CAUGHT_UP_SECONDS = 10.0
"""Up to which lag nothing is under way."""


@click.command()
@task_argument
@api_options
@click.option(
    "--interval",
    type=click.FloatRange(0.1, MOST_SECONDS),
    default=1.0,
    metavar="SECONDS",
    help="How often to ask the service.",
)
@click.option(
    "--until",
    type=click.Choice(["ok"]),
    help="End with status 0 once the health is this, or with status 4 once it will not "
    "come to be so by itself: it has been paused, failed or degraded for some seconds, "
    "and nothing is under way.",
)
@output_option
def watch(
    *, task_id: str, api: Api, interval: float, until: str | None, output: str
) -> None:
    """Show the state of a task until it ends.

    On a terminal continuously, otherwise at each change. Ends with Ctrl-C, as --until
    says, when nobody reads what it prints, or with status 1 when the task is deleted.
    """
    seen = None
    settled_at: float | None = None
    live = output == "table" and sys.stdout.isatty()
    if math.isnan(interval):  # Which is in every range.
        raise click.BadParameter("nan is no number", param_hint="--interval")
    while True:
        shown = api.task(task_id)
        state = (shown["state"], *_health_of(shown))
        if live:
            click.echo(f"\r\x1b[K{_line(shown)}", nl=state != seen)
        elif state != seen:
            whole = output == "table"
            click.echo(_line(shown) if whole else dump_line(shown, output))
        seen = state
        if until and shown["health"]["status"] == until:
            return
        settled_at = (settled_at or time.monotonic()) if _is_settled(shown) else None
        if until and settled_at and time.monotonic() - settled_at >= SETTLE_SECONDS:
            click.get_current_context().exit(NOT_READY)
        if not is_read():
            return
        time.sleep(interval)


def _is_settled(shown: dict[str, Any]) -> bool:
    """Tell whether the health of a task stays what it is if nobody does anything."""
    status, lag = shown["health"]["status"], shown["lag_seconds"]
    if status != "degraded":
        return status in {"paused", "failed"}
    if shown["health"]["problems"]["retrying"]:
        return False
    if lag is None:
        return all(each["state"] == "set_aside" for each in shown["collections"])
    return bool(lag <= CAUGHT_UP_SECONDS)


def _health_of(shown: dict[str, Any]) -> tuple[str | None, ...]:
    return shown["health"]["status"], shown["health"]["error"], problems(shown)


def _bar(collections: Sequence[dict[str, Any]]) -> str:
    """Return how far the files are that rows come from, empty if none do."""
    coming = [each["snapshot"] for each in collections if each.get("snapshot")]
    total = sum(each["total_bytes"] for each in coming)
    if not total:
        return ", files are listed" if coming else ""
    done = sum(each["bytes"] for each in coming)
    full = BAR_WIDTH * done // total
    left = [each["eta_seconds"] for each in coming]
    eta = "" if None in left else f", {timedelta(seconds=round(max(left)))} left"
    bar = "#" * full + "-" * (BAR_WIDTH - full)
    return f", files [{bar}] {100 * done // total} %{eta}"


def _line(shown: dict[str, Any]) -> str:
    _, state, _, lag, _, some = row_of(shown)
    health, error, _ = _health_of(shown)
    if some != "-":
        health = f"{health} ({some})"
    line = f"{state}, {health}, lag {lag}, {shown['rows_applied']} rows applied"
    line += _bar(shown["collections"])
    return f"{line}: {' '.join(error.split())}" if error else line
