"""``cdc-actors task`` and ``history`` on the real server, over tasks in memory."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from cdc_actors.cli import watch_cmd
from cdc_actors.cli.main import main
from cdc_actors.config import load
from cdc_actors.config.auth import Token
from cdc_actors.errors import TaskLimitError, UnavailableError, UnknownTaskError
from cdc_actors.pipeline.messages import SnapshotProgress
from cdc_actors.service.views import CollectionView, Problems, TaskView
from cdc_actors.tasks import NameMapping
from cdc_http import Server, create_app
from cdc_http.tokens import TokenRing
from tests.support.http_service import FakeService, entry

ID = "a" * 32
CLI = Path(sys.executable).with_name("cdc-actors")


@pytest.fixture
def service():
    """Return tasks in memory, and a history of three events."""
    return FakeService(events=[entry(1, "created"), entry(2, "paused"), entry(3)])


@pytest.fixture
def url(service):
    """Serve them, and yield where."""
    server = Server(create_app(service), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


@pytest.fixture
def run(url):
    """Return what runs a command against the server."""

    def run_command(*arguments: str, status: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(main, [*arguments, "--url", url], input=stdin)
        assert result.exit_code == status, result.output
        return result.output

    return run_command


@pytest.fixture
def task(run):
    """Create a task and return its id."""
    return run("task", "create", "--target", "http://h:1", "--collection", "*").strip()


def created(service: FakeService):
    """Return the specification of the last create."""
    return next(each[2] for each in reversed(service.asked) if each[0] == "create")


def degraded(view: TaskView, *, lag: float | None = 0.5, **counts: int) -> TaskView:
    """Return a task of which parts are not well."""
    reasons = ("default.a is set aside: no", "CreateIndex of default.b was refused: no")
    some = Problems(**({"operations_refused": 1} | counts), reasons=reasons)
    health = replace(view.health, status="degraded", problems=some, error=reasons[0])
    return replace(view, health=health, lag_seconds=lag)


class TestTask:
    """The commands that act on tasks."""

    def test_create_tells_what_has_no_effect(self, url, tmp_path):
        """On standard error, so that a script reads the id alone."""
        file = tmp_path / "create.yaml"
        param = {"uri": "http://h:1", "ignore_partition": True}
        infos = [{"name": "*"}]
        request = {"milvus_connect_param": param, "collection_infos": infos}
        file.write_text(yaml.safe_dump(request))
        arguments = ["task", "create", "--url", url, "-f", str(file)]
        result = CliRunner().invoke(main, arguments)
        assert result.stdout == f"{0:032x}\n"
        assert result.stderr.startswith(
            "Warning: milvus_connect_param.ignore_partition"
        )

    @pytest.mark.parametrize("command", ["create", "update"])
    def test_help_says_what_a_star_stands_for(self, command):
        """Everything is *.*, as * is one database."""
        result = CliRunner().invoke(main, ["task", command, "--help"])
        said = " ".join(result.output.split())
        assert (
            "Collection to replicate: *.* for everything, DB.* for a database, * for the "
            "database default. May be repeated." in said
        )
        assert "Examples:" in said

    def test_help_creates_a_task_of_everything(self, run, service):
        """The first example is one of everything, and does what it says."""
        result = CliRunner().invoke(main, ["task", "create", "--help"])
        lines = result.output.splitlines()
        example = next(line for line in lines if "--collection '" in line)
        run(*shlex.split(example)[1:])
        assert created(service).selectors == (("*", "*"),)

    def test_create_by_options(self, run, service, tmp_path):
        """Each option finds its place, and the token is no part of a command line."""
        token = tmp_path / "token"
        token.write_text("root:pl4nted\n")
        names = ("--collection", "a", "--collection", "db.b", "--collection", "*.c")
        told = run(
            *("task", "create", "--target", "http://h:1", "--task-id", ID, *names),
            *("--token-file", str(token), "--connect-timeout", "7"),
        )
        assert told == f"{ID}\n"
        spec = created(service)
        assert (spec.target.uri, spec.target.connect_timeout) == ("http://h:1", 7)
        assert spec.token == "root:pl4nted"
        assert spec.collection_infos == ("a",)
        assert spec.db_collections == {"db": ("b",), "*": ("c",)}

    @pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump])
    def test_create_by_file(self, run, service, dump):
        """A file has all that the API takes; an option goes before it."""
        request = {
            "milvus_connect_param": {"uri": "http://h:1", "token": "root:pl4nted"},
            "db_collections": {"*": [{"name": "*"}]},
        }
        run("task", "create", "-f", "-", "--target", "http://h:2", stdin=dump(request))
        spec = created(service)
        assert (spec.target.uri, spec.token) == ("http://h:2", "root:pl4nted")
        assert spec.db_collections == {"*": ("*",)}

    @pytest.mark.parametrize(
        "text",
        [
            *("{", "- a", "nothing", "\x00", "collection_infos: [2026-01-31]"),
            *("extra_info: 5", "milvus_connect_param: a", "1: 2", "a: .nan"),
            *("a: " + "[" * 5000, "a: " + "9" * 5000, "a: 2026-13-01"),
        ],
    )
    def test_create_by_a_wrong_file(self, run, text):
        """What holds no request, or not what options add to, is refused in a line."""
        options = "--target", "http://h:2", "--skip-unsupported-fields"
        told = run("task", "create", "-f", "-", *options, stdin=text, status=1)
        assert told.startswith("Error: <stdin>")
        assert told.count("\n") == 1

    def test_create_by_a_whole_request(self, run):
        """What belongs into the request is told by what is around it."""
        text = '{"request_type": "create", "request_data": {}}'
        told = run("task", "create", "-f", "-", stdin=text, status=1)
        assert told.startswith("Error: ")
        assert "request_type" in told

    def test_life(self, run, task, service):
        """A task is listed, paused, resumed, shown and deleted; a pipe hears little."""
        assert [
            each["task_id"] for each in json.loads(run("task", "list", "-o", "json"))
        ]
        assert run("task", "pause", task) == ""
        assert json.loads(run("task", "get", task, "-o", "json"))["state"] == "Paused"
        assert run("task", "resume", task) == ""
        assert (
            yaml.safe_load(run("task", "get", task, "-o", "yaml"))["state"] == "Running"
        )
        assert run("task", "retry", task, "--collection", "db.a") == ""
        assert service.asked[-1][:3] == ("retry", task, (("db", "a"),))
        names = ("--collection", "db.a", "--collection", "b", "--drop-target")
        assert run("task", "resync", task, *names) == ""
        both = (("db", "a"), ("default", "b"))
        [asked] = [each for each in service.asked if each[0] == "resync"]
        assert (*asked[:3], asked[-1]) == ("resync", task, both, "drop_target")
        assert run("task", "resync", task, "--collection", "b", "--shadow") == ""
        assert [each[-1] for each in service.asked if each[0] == "resync"][
            1
        ] == "shadow"
        both_ways = ("--collection", "b", "--shadow", "--drop-target")
        assert "exclude each other" in run("task", "resync", task, *both_ways, status=2)
        assert run("task", "acknowledge", task, "--kind", "CreateIndex") == ""
        assert service.asked[-1][:3] == ("acknowledge", task, ["CreateIndex"])
        assert run("task", "delete", task) == ""
        assert "not found" in run("task", "delete", task, status=1)
        assert run("task", "delete", task, "--ignore-not-found") == ""
        assert run("task", "list").split() == [
            "TASK",
            "STATE",
            "HEALTH",
            "LAG",
            "TARGET",
            "PROBLEMS",
        ]

    def test_update_by_options(self, run, task, service, tmp_path):
        """A token comes from a file; what is not given stays."""
        token = tmp_path / "token"
        token.write_text("root:pl4nted\n")
        file = ("--token-file", str(token), "--connect-timeout", "7")
        told = run("task", "update", task, *file)
        assert told == ""
        spec = service.asked[-1][3]
        assert (spec.target.uri, spec.target.connect_timeout) == ("http://h:1", 7)
        assert (spec.token, spec.collection_infos) == ("root:pl4nted", ("*",))

    def test_update_by_file(self, run, task, service):
        """The request comes from standard input, and an option goes before it."""
        request = {"milvus_connect_param": {"uri": "http://h:2", "token": "root:new"}}
        arguments = ("task", "update", task, "-f", "-", "--target", "http://h:3")
        run(*arguments, stdin=json.dumps(request))
        spec = service.asked[-1][3]
        assert (spec.target.uri, spec.token) == ("http://h:3", "root:new")

    def test_rows_that_do_not_wait_for_ticks(self, run, task, service):
        """A task is created so, and an update has it otherwise."""
        target = ("--target", "http://h:1", "--collection", "a")
        run("task", "create", *target, "--consistency", "early")
        assert created(service).consistency == "early"
        run("task", "update", task, "--consistency", "early")
        assert service.tasks[task].spec.consistency == "early"
        run("task", "update", task, "--consistency", "tick")
        assert service.tasks[task].spec.consistency == "tick"

    def test_fields_that_the_target_cannot_hold(self, run, task, service):
        """A task is created to do without them, and an update has it otherwise."""
        target = ("--target", "http://h:1", "--collection", "a")
        run("task", "create", *target, "--skip-unsupported-fields")
        assert created(service).skip_unsupported_fields
        run("task", "update", task, "--skip-unsupported-fields")
        assert service.tasks[task].spec.skip_unsupported_fields
        run("task", "update", task, "--keep-unsupported-fields")
        assert not service.tasks[task].spec.skip_unsupported_fields

    def test_update_of_the_selection(self, run, task, service):
        """All of it is named, or what is added and what is removed."""
        run("task", "update", task, "--collection", "a", "--collection", "d.b")
        spec = service.tasks[task].spec
        assert (spec.collection_infos, spec.db_collections) == (("a",), {"d": ("b",)})
        run("task", "update", task, "--add", "d.c", "--add", "x", "--remove", "d.b")
        spec = service.tasks[task].spec
        assert spec.collection_infos == ("a", "x")
        assert spec.db_collections == {"d": ("c",)}
        told = run("task", "update", task, "--remove", "y", status=1)
        assert "does not name y, it has a, x, d.c" in told
        both = ("--add", "y", "--collection", "z")
        assert "--add and --remove" in run("task", "update", task, *both, status=2)

    def test_removing_what_is_mapped(self, run, task, service):
        """Its names leave the mapping, which is said; all others stay."""
        names = {"a": "x", "b": "y"}
        mapping = [
            {"source_db": "d", "target_db": "e", "collection_mapping": {"b": "x"}},
            {"source_db": "default", "target_db": "f", "collection_mapping": names},
            {"source_db": "g", "target_db": "h"},
            {"source_db": "*", "target_db": "all"},
        ]
        request = {
            "collection_infos": [{"name": "a"}, {"name": "b"}],
            "db_collections": {"d": [{"name": "b"}], "g": [{"name": "*"}]},
            "name_mapping": mapping,
        }
        run("task", "update", task, "-f", "-", stdin=json.dumps(request))
        gone = ("--remove", "d.b", "--remove", "a", "--remove", "g.*")
        told = run("task", "update", task, *gone, "--add", "h.c")
        assert "Warning: d.b default.a g.* leaves the task's name_mapping, too." in told
        kept = service.tasks[task].spec.name_mapping
        assert kept == (
            NameMapping(
                source_db="default", target_db="f", collection_mapping={"b": "y"}
            ),
            NameMapping(source_db="*", target_db="all"),
        )
        told = run("task", "update", task, "--add", "k.d")
        assert "name_mapping" not in told
        given = json.dumps({"name_mapping": []})
        arguments = ("--remove", "b", "-f", "-")
        told = run("task", "update", task, *arguments, stdin=given)
        assert "leaves" not in told
        assert service.tasks[task].spec.name_mapping == ()

    def test_update_to_another_address_of_the_same_milvus(self, run, task, service):
        """That it is the same is the operator's word."""
        run("task", "update", task, "--target", "http://h:3", "--same-milvus")
        assert service.asked[-1][3].target.uri == "http://h:3"
        assert service.asked[-1][-1] is True

    def test_update_of_a_paused_task(self, url, run, task):
        """On standard error stands that it stays paused."""
        run("task", "pause", task)
        arguments = ["task", "update", task, "--connect-timeout", "9", "--url", url]
        result = CliRunner().invoke(main, arguments)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "Warning: the task is paused, and stays so" in result.stderr

    def test_tables(self, run, task):
        """People get a line for each task, and for each field of one."""
        head, line = run("task", "list").splitlines()
        assert head.split() == ["TASK", "STATE", "HEALTH", "LAG", "TARGET", "PROBLEMS"]
        assert line.split() == [task, "Running", "starting", "-", "http://h:1", "-"]
        fields = dict(
            row.split(maxsplit=1) for row in run("task", "get", task).splitlines()
        )
        assert fields["milvus_connect_param.uri"] == "http://h:1"
        assert fields["collection_infos.0.name"] == "*"
        assert fields["lag_seconds"] == "-"

    def test_get_of_the_past(self, run, task, service):
        """A number or a time is passed on."""
        run("task", "get", task, "--as-of", "2")
        assert service.asked[-1] == ("get", task, 2)

    def test_watch_on_a_pipe(self, run, task, service):
        """A program hears of each change once, and the end of the task is status 1."""
        running = service.tasks[task]
        paused = replace(running, state="Paused")
        looks = iter([running, running, paused, paused])
        known = service.get
        service.tasks.clear()
        service.get = lambda *asked: next(looks, None) or known(*asked)
        watch = ("task", "watch", task, "--interval", "0.1")
        *lines, last = run(*watch, "-o", "json", status=1).splitlines()
        assert [json.loads(line)["state"] for line in lines] == ["Running", "Paused"]
        assert "not found" in last

    @pytest.mark.parametrize("seconds", ["nan", "inf", "3601", "0"])
    def test_watch_at_no_interval(self, run, task, seconds):
        """What cannot be waited for is wrong usage."""
        told = run("task", "watch", task, "--interval", seconds, status=2)
        assert "--interval" in told

    def test_tables_tell_of_problems(self, run, task, service):
        """How many of each kind stand in the list, the reasons with the task."""
        service.tasks[task] = degraded(service.tasks[task], set_aside=2)
        assert run("task", "list").splitlines()[1].split() == [
            *(task, "Running", "degraded", "0.5", "s", "http://h:1"),
            *("2", "set", "aside,", "1", "refused"),
        ]
        assert "default.a is set aside: no" in run("task", "get", task)

    def test_watch_until_ok(self, run, task, service):
        """It ends once the task is well, whatever was before."""
        running = service.tasks[task]
        well = replace(running, health=replace(running.health, status="ok"))
        looks = iter([running, degraded(running, retrying=1), well])
        service.get = lambda *_: next(looks)
        told = run("task", "watch", task, "--interval", "0.1", "--until", "ok")
        assert [line.split(",")[1].split()[0] for line in told.splitlines()] == [
            *("starting", "degraded", "ok"),
        ]

    @pytest.mark.parametrize(
        ("rests", "moves"),
        [
            ({"set_aside": 1}, {"retrying": 1}),
            ({"set_aside": 1}, {"set_aside": 1, "lag": 60.0}),
            ({"set_aside": 1, "lag": None}, {"retrying": 1, "lag": None}),
        ],
    )
    def test_watch_until_ok_gives_up(
        self, run, task, service, monkeypatch, rests, moves
    ):
        """What has come to rest as degraded is status 4; what still moves is waited for."""
        monkeypatch.setattr(watch_cmd, "SETTLE_SECONDS", 0.2)
        running = service.tasks[task]
        looks = iter([degraded(running, **moves)] * 5)
        rest = degraded(running, **rests)
        service.get = lambda *_: next(looks, rest)
        watch = ("task", "watch", task, "--interval", "0.1", "--until", "ok")
        told = run(*watch, status=4).splitlines()
        assert next(looks, None) is None
        assert told[-1].endswith("default.a is set aside: no")

    @pytest.mark.parametrize("status", ["paused", "failed"])
    def test_watch_until_ok_of_what_is_stopped(
        self, run, task, service, monkeypatch, status
    ):
        """Nothing will happen by itself: status 4."""
        monkeypatch.setattr(watch_cmd, "SETTLE_SECONDS", 0.2)
        view = service.tasks[task]
        health = replace(view.health, status=status)
        service.tasks[task] = replace(view, health=health)
        run(*("task", "watch", task, "--interval", "0.1", "--until", "ok"), status=4)

    @pytest.mark.parametrize(
        ("size", "left", "told"),
        [
            (0, None, ", files are listed"),
            (50, 90.0, ", files [#####---------------] 25 %, 0:01:30 left"),
            (200, None, ", files [####################] 100 %"),
        ],
    )
    def test_watch_tells_how_far_files_are(self, run, task, service, size, left, told):
        """A bar by bytes, and how long the rest will take once that is known."""
        view = service.tasks[task]
        coming = SnapshotProgress(1, 2, size, 200 if size else 0, left)
        books = CollectionView(
            database="default",
            name="books",
            target=("default", "books"),
            collection_id=445,
            state="snapshot",
            snapshot=coming,
        )
        health = replace(view.health, status="ok")
        service.tasks[task] = replace(view, health=health, collections=(books,))
        shown = run("task", "watch", task, "--until", "ok")
        assert shown.rstrip().endswith(f"rows applied{told}")

    def test_watch_on_a_terminal_ends_with_ctrl_c(self, url, task):
        """A person sees one line that is kept up to date; Ctrl-C is status 130."""
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", closefd=True) as screen:
            process = subprocess.Popen(
                [CLI, "task", "watch", task, "--url", url],
                stdout=theirs,
                stderr=theirs,
                # Whoever runs the tests in the background may have it ignored.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )
            os.close(theirs)
            try:
                shown = b""
                while b"rows applied" not in shown:
                    shown += screen.read1(200)
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=600) == 130
            finally:
                process.kill()
                process.wait()
        assert b"Running, starting, lag -, 0 rows applied" in shown


class TestHistory:
    """The command that tells what was done."""

    def test_table(self, run):
        """Each event is a line with all that an audit asks for."""
        head, *rows = run("history", ID).splitlines()
        assert head.split() == ["NUMBER", "TIME", "WHO", "WHAT", "[WHY]"]
        assert len(rows) == 3
        told = "1 2026-11-24T12:30:00.000Z client 192.0.2.7 created [asked by a client]"
        assert rows[0].split() == told.split()

    def test_json_and_yaml(self, run):
        """Programs get all of it."""
        told = json.loads(run("history", ID, "-o", "json"))
        assert [each["number"] for each in told] == [1, 2, 3]
        assert yaml.safe_load(run("history", ID, "-o", "yaml")) == told

    def test_many_pages(self, run, service):
        """A history that is longer than a page comes whole."""
        service.events = [entry(number) for number in range(1, 2502)]
        told = json.loads(run("history", ID, "-o", "json", "--after", "1"))
        assert [each["number"] for each in told] == list(range(2, 2502))

    @pytest.mark.parametrize("output", ["json", "yaml"])
    def test_follow(self, run, service, output):
        """Events come one by one, and the deletion ends it."""
        timer = threading.Timer(0.5, service.events.append, [entry(4, "deleted")])
        timer.start()
        told = run("history", ID, "--follow", "--after", "1", "-o", output)
        if output == "json":
            events = [json.loads(line) for line in told.splitlines()]
        else:
            events = list(yaml.safe_load_all(told))
        assert [each["number"] for each in events] == [2, 3, 4]

    def test_diff(self, run, task, service):
        """What differs between two moments is told, with status 3."""
        past = dict.fromkeys((1, 2), service.tasks[task])
        run("task", "pause", task)
        past[2] = service.tasks[task]
        service.get = lambda _, as_of: past[as_of]
        told = run("history", task, "--diff", "1", "2", "-o", "json", status=3)
        assert json.loads(told) == {
            "state": {"from": "Running", "to": "Paused"},
            "reason": {"from": None, "to": "manually paused"},
        }
        rows = run("history", task, "--diff", "1", "2", status=3).splitlines()
        assert rows[0].split() == ["FIELD", "1", "2"]
        assert rows[1].split() == ["state", "Running", "Paused"]
        assert run("history", task, "--diff", "1", "1") == ""

    def test_diff_of_what_was_empty(self, run, task, service):
        """What comes into something empty is a line, and that it was empty is none."""
        before = replace(service.tasks[task], collections=())
        live = CollectionView(
            database="default",
            name="books",
            target=("default", "books"),
            collection_id=445,
            state="live",
        )
        past = {1: before, 2: replace(before, collections=(live,))}
        service.get = lambda _, as_of: past[as_of]
        told = json.loads(
            run("history", task, "--diff", "1", "2", "-o", "json", status=3)
        )
        assert told["collections.445.name"] == {"from": None, "to": "books"}
        assert "collections" not in told

    @pytest.mark.parametrize("command", [("history",), ("task", "get")])
    def test_the_beginning_of_no_task(self, run, service, command):
        """It is said that no task begins so, and what a deleted one needs."""
        service.failure = UnknownTaskError("not found: [zzz]")
        service.list = lambda *_: []
        told = run(*command, "zzz", status=1)
        assert "no task's id begins with zzz, and a deleted task needs its" in told

    def test_one_question_at_a_time(self, run):
        """Questions that exclude each other are wrong usage."""
        assert "Take one of" in run("history", ID, "--follow", "--as-of", "1", status=2)


class TestTokens:
    """Commands against a service that asks for tokens."""

    @pytest.fixture
    def asked(self, service):
        """Serve with one token of a viewer; yield where, and the token."""
        told = CliRunner().invoke(main, ["token", "create", "eye", "-o", "json"])
        made = json.loads(told.stdout)
        tokens = [msgspec.convert(made["settings"], Token)]
        server = Server(create_app(service, tokens=tokens), "127.0.0.1", 0)
        server.start()
        yield f"http://127.0.0.1:{server.address[1]}", made["token"]
        server.stop()

    @pytest.mark.parametrize("way", ["option", "variable"])
    def test_a_token_is_sent(self, asked, way):
        """It comes from the option or the variable; a viewer may list and not create."""
        url, token = asked
        option = ["--token", token] if way == "option" else []
        runner = CliRunner(env={"CDC_ACTORS_TOKEN": token} if not option else {})
        listed = runner.invoke(main, ["task", "list", "--url", url, *option])
        assert listed.exit_code == 0
        create = ["task", "create", "--target", "http://h:1", "--collection", "*"]
        refused = runner.invoke(main, [*create, "--url", url, *option])
        assert refused.exit_code == 1
        assert "needs the role operator" in refused.stderr
        assert token not in refused.output

    def test_without_a_token(self, asked):
        """The service's words say what is missing."""
        result = CliRunner().invoke(main, ["task", "list", "--url", asked[0]])
        assert result.exit_code == 1
        assert (
            "a token is needed: set CDC_ACTORS_TOKEN, or give --token" in result.stderr
        )

    @pytest.mark.parametrize("token", ["a b", "a\nb", "ü"])
    def test_what_is_no_token(self, token):
        """It is wrong usage, and is not repeated."""
        result = CliRunner().invoke(main, ["task", "list", "--token", token])
        assert result.exit_code == 2
        assert token not in result.stderr

    def test_create_prints_what_the_settings_take(self, tmp_path):
        """The printed lines of YAML are settings, and the token fits their hash."""
        create = ["token", "create", "ops-1", "--role", "operator"]
        told = CliRunner().invoke(main, create).stdout
        token, _, text = told.partition("\n")
        queue = "sourceConfig: {natsmq: {address: 'nats://h:1'}}\n"
        path = tmp_path / "cdc.yaml"
        path.write_text(queue + text[text.index("auth:") :])
        tokens = load(path, {}, {}).config.auth.tokens
        assert [(each.name, each.role) for each in tokens] == [("ops-1", "operator")]
        assert TokenRing(tokens).find(token) == tokens[0]

    @pytest.mark.parametrize("name", ["", "a.b", "a b", "ü", "a\n", "a" * 65])
    def test_create_refuses_a_name(self, name):
        """A name that the settings would not take is wrong usage."""
        result = CliRunner().invoke(main, ["token", "create", name])
        assert result.exit_code == 2
        assert "letters, digits" in result.stderr


class TestFailures:
    """What a person reads when it does not work."""

    @pytest.mark.parametrize("command", [["task", "list"], ["history", ID, "--follow"]])
    def test_nobody_is_there(self, command):
        """A service that does not answer is status 4 and one line."""
        url = "http://127.0.0.1:1"
        result = CliRunner().invoke(main, [*command, "--url", url])
        assert result.exit_code == 4
        assert result.stderr.startswith(
            f"Error: the service at {url} does not answer: "
        )
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("failure", "status"),
        [(UnavailableError("starting"), 4), (TaskLimitError("too many"), 1)],
    )
    def test_refusals(self, run, service, failure, status):
        """A refusal is told in the service's words; 503 means not ready."""
        service.failure = failure
        assert str(failure) in run("task", "list", status=status)

    @pytest.mark.parametrize(
        "url", ["localhost:8444", "ftp://h", "http://", "http://h:x", "http://[::1"]
    )
    def test_malformed_url(self, url):
        """A URL that is none is wrong usage."""
        result = CliRunner().invoke(main, ["task", "list", "--url", url])
        assert result.exit_code == 2
        assert "is not a URL such as" in result.stderr

    @pytest.mark.parametrize("command", ["task list", "task watch a", "health"])
    @pytest.mark.parametrize(
        "body",
        [
            b"<html>",
            b"[]",
            b"{}",
            b'{"code":200}',
            b'{"code":200,"data":5}',
            b'{"code":200,"data":{"tasks":[{"task_id":"a","state":"Running"}]}}',
        ],
    )
    @pytest.mark.parametrize("status", [200, 404])
    def test_somebody_else_is_there(self, body, status, command):
        """Another server's answer is not taken for the service's: nor milvus-cdc's."""

        class Stranger(BaseHTTPRequestHandler):
            def do_POST(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.do_POST()

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Stranger)
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        result = CliRunner().invoke(main, [*command.split(), "--url", url])
        server.server_close()
        assert result.exit_code == 1
        assert "is not cdc-actors" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(url, task, shell):
    """Each shell gets its script, and tasks are completed from the service."""
    script = subprocess.run(
        [CLI],
        env={**os.environ, "_CDC_ACTORS_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_CDC_ACTORS_COMPLETE" in script.stdout
    words = f"cdc-actors task get --url {url} {task[:3]}"
    asked = subprocess.run(
        [CLI],
        env={
            **os.environ,
            "_CDC_ACTORS_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": "5" if shell != "fish" else task[:3],
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert task in asked.stdout


def test_completion_without_a_service():
    """Where no service answers there is nothing to offer, and no error."""
    asked = subprocess.run(
        [CLI],
        env={
            **os.environ,
            "_CDC_ACTORS_COMPLETE": "bash_complete",
            "COMP_WORDS": "cdc-actors task get --url http://127.0.0.1:1 a",
            "COMP_CWORD": "5",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.stdout.strip(), asked.stderr) == ("", "")
