"""Logging: forms, levels, libraries, secrets."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from cdc_actors.cli import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _restored():
    root, names = logging.getLogger(), ("falcon", "nats", "pymilvus", "waitress")
    before = root.level, root.handlers[:]
    root.handlers.clear()
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict]:
    """Return what was logged as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_without_a_terminal_each_event_is_a_line_of_json():
    """A program reads the event, its level, its time and its fields."""
    stream = io.StringIO()
    logs.configure("info", stream, {})

    structlog.get_logger("here").info("task_started", task_id="a\nb", rows=3)

    (line,) = lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "event": "task_started",
        "level": "info",
        "logger": "here",
        "task_id": "a\nb",
        "rows": 3,
    }


def test_a_terminal_gets_text_in_colour_unless_no_color_is_set():
    """People read text; NO_COLOR takes the colours away."""
    colored, plain = Terminal(), Terminal()
    logs.configure("info", colored, {})
    structlog.get_logger().info("task_started", rows=3)
    logs.configure("info", plain, {"NO_COLOR": "1"})
    structlog.get_logger().info("task_started", rows=3)

    assert "\x1b[" in colored.getvalue()
    assert "\x1b[" not in plain.getvalue()
    assert "task_started" in plain.getvalue()
    assert "rows=3" in plain.getvalue()


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warn", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_is_the_configured_one(level, heard):
    """What is below the level is not written, by whichever way it comes."""
    for logger in (structlog.get_logger("a"), logging.getLogger("a")):
        stream = io.StringIO()
        logs.configure(level, stream, {})

        for name in ("debug", "info", "warning", "error"):
            getattr(logger, name)("x")

        assert [line["level"] for line in lines(stream)] == heard


@pytest.mark.parametrize("name", ["pymilvus.client", "nats.aio", "waitress", "falcon"])
def test_libraries_go_the_same_way_from_warnings_on(name):
    """Their loggers give our JSON, once a message, and keep quiet about the rest."""
    stream = io.StringIO()
    logs.configure("info", stream, {})

    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("slow: %s", 3)

    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("slow: 3", name)


def test_pymilvus_does_not_repeat_failed_calls():
    """Its traceback for each failed call stays away: we report failures ourselves."""
    stream = io.StringIO()
    logs.configure("debug", stream, {})

    logging.getLogger("pymilvus.decorators").error("RPC error: ...")

    assert lines(stream) == []


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_secrets_are_masked_at_any_depth(stream):
    """Values under names of secrets and passwords in URLs go, also from tracebacks."""
    logs.configure("info", stream, {})
    log = structlog.get_logger()

    fields = {
        "token": "Zq7",
        "Milvus_Password": "Zq7",
        "client_secret": {"a": "Zq7"},
        "target": {"api_token": "Zq7", "uris": ["http://me:Zq7@a:1"]},
    }
    log.info("connect nats://me:Zq7@a", **fields)
    try:
        int("postgresql://me:Zq7@a/b")
    except ValueError:
        log.exception("failed")
    logging.getLogger("nats").error("cannot connect to %s", "nats://Zq7@a:1")

    text = stream.getvalue()
    assert "Zq7" not in text
    assert "ValueError" in text
    assert "******" in text


def test_the_last_configuration_counts():
    """Configuring again replaces the handler: no line comes twice."""
    first, second = io.StringIO(), io.StringIO()
    logs.configure("info", first, {})
    logs.configure("info", second, {})

    structlog.get_logger().info("x")

    assert first.getvalue() == ""
    assert len(lines(second)) == 1
