"""The command: options, folder, signals and exit statuses."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdc_actors.errors import CdcError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_DIFFERENT = 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXAMPLES = """\b
Examples:
  cdc-actors demo
  cdc-actors demo --target milvus --rows 50000
  cdc-actors demo --mq kafka
  cdc-actors demo --mq pulsar --broker pulsar://localhost:6650
  cdc-actors demo --exit --folder ./demo

Exit status: 0 both sides are equal, 1 failure, 2 wrong usage, 3 they differ,
130 Ctrl-C before the comparison.
"""


class Interrupted(BaseException):
    """A signal asks the demo to end. No library takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def _unused(_context: click.Context, _option: click.Parameter, value: Any) -> Any:
    """Refuse a folder with something in it: an earlier run, or somebody's files."""
    if value and value.exists() and any(value.iterdir()):
        raise click.BadParameter(f"{value} is not empty; name a new folder.")
    return value


@click.command(epilog=_EXAMPLES)
@click.option(
    "--target",
    type=click.Choice(["lite", "milvus"]),
    default="lite",
    show_default=True,
    help="Target: a Milvus Lite server or a second Milvus.",
)
@click.option(
    "--rows",
    type=click.IntRange(100, 1_000_000),
    default=4_000,
    show_default=True,
    help="Number of rows to insert at the source, a fifth of them before the task.",
)
@click.option(
    "--mq",
    type=click.Choice(["natsmq", "rocksmq", "kafka", "pulsar"]),
    default="natsmq",
    show_default=True,
    help="Message queue of the source. The demo starts a Kafka or Pulsar itself, which "
    "needs Java (11 for Kafka, 17 for Pulsar) and Maven, unless --broker names one.",
)
@click.option(
    "--broker",
    default="",
    metavar="ADDRESS",
    help="A running Kafka (host:port) or Pulsar (pulsar://host:port) to use. The demo's "
    "topics begin with demo- and are not deleted.",
)
@click.option("--exit", "leave", is_flag=True, help="Exit after the comparison.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, writable=True),
    callback=_unused,
    metavar="DIR",
    help="New or empty folder for data, settings and logs; it is kept.",
)
@click.option("--keep", is_flag=True, help="Keep the temporary folder.")
@click.pass_context
def demo(
    context: click.Context,
    /,
    *,
    leave: bool,
    folder: Path | None,
    keep: bool,
    **chosen: Any,
) -> None:
    """Replicate a real Milvus on this machine.

    Starts a source, a target and the service as processes on free ports. Brings a
    collection that only the source's files still have (of other queues than natsmq the log
    has it, too). Writes, updates and deletes rows at the source, kills the service with
    SIGKILL, starts it again, and compares both sides row by row. Everything stays up for
    you to try until Ctrl-C; no process is left behind.
    """
    _check_broker(chosen["mq"], chosen["broker"])
    _stand_alone()
    with _interruptible() as calm:
        place = partial(_folder, folder, keep=keep)
        context.exit(_run(calm, place, chosen, stay=not leave))


def _check_broker(mq: str, broker: str) -> None:
    """Kafka and Pulsar are servers of their own, the others are inside Milvus."""
    if mq not in {"kafka", "pulsar"} and broker:
        raise click.UsageError(f"--broker goes with kafka and pulsar; {mq} has none.")


def _run(
    calm: Callable[[], None],
    place: Callable[[ExitStack], Path],
    chosen: dict[str, Any],
    *,
    stay: bool,
) -> int:
    """Run the demo in ``place``; return the exit status. ``calm`` ends interruptions."""
    status = None
    try:
        with ExitStack() as stack:
            try:
                # Here, not above: it loads what --help must not wait for.
                from cdc_actors.cli.demo.scenario import DemoScenario, DemoSettings  # noqa: PLC0415

                scenario = DemoScenario(stack, place(stack), DemoSettings(**chosen))
                status = 0 if scenario.run() else _DIFFERENT
                if stay:
                    scenario.invite()
                    _stay()
            except Interrupted:
                click.echo("\nEnding all that it started.")
                raise
            finally:
                calm()
    except CdcError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except Interrupted as interrupted:
        return interrupted.status if status is None else status
    return status


def _stay() -> None:
    """Wait for a signal, be it one that comes in the moment before a wait begins."""
    while True:
        time.sleep(1)


def _stand_alone() -> None:
    """Keep the settings of a real service, and proxies, out of what is started here."""
    for name in [name for name in os.environ if name.startswith("CDC_ACTORS_")]:
        del os.environ[name]
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


def _folder(given: Path | None, stack: ExitStack, *, keep: bool) -> Path:
    if given:
        try:
            given.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OperatorError(f"Cannot make {given}: {error.strerror}.") from error
        return given.resolve()
    prefix = "cdc-actors-demo-"
    if keep:
        return Path(tempfile.mkdtemp(prefix=prefix))
    temporary = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    return Path(stack.enter_context(temporary))


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Raise ``Interrupted`` at the first signal, or at none once ``calm`` was called."""
    awaited = True

    def calm() -> None:
        nonlocal awaited
        awaited = False

    def handle(number: int, _frame: FrameType | None) -> None:
        if awaited:
            calm()
            raise Interrupted(number)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield calm
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
