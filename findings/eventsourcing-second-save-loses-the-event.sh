#!/usr/bin/env bash
# eventsourcing 9.5.6 with its SQLite recorder.
#
# What: save() of an aggregate that somebody else has changed meanwhile raises
# IntegrityError, as it should. The same save() a second time succeeds and writes nothing:
# the first has emptied the list of pending events. The aggregate in memory shows the change,
# the log does not have it, and the next event is written behind the other's as if it had
# been decided with it in view.
# Expected: the second save raises again, or the aggregate refuses to be used.
# Seen in: 9.5.6.
# Why it matters: a service that retries its saves, as one that keeps positions of a
# replication would, takes a lost event for a written one.
# Instead: after an IntegrityError throw the aggregate away, get it anew from the repository
# and give the command again; never save the same object twice.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'eventsourcing==9.5.6'
cat >"$work/show.py" <<'END'
import os, sys, traceback
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError

class Task(Aggregate):
    @event("Created")
    def __init__(self):
        self.position = 0

    @event("Moved")
    def move(self, position):
        self.position = position

status = 1
try:
    app = Application({"PERSISTENCE_MODULE": "eventsourcing.sqlite",
                       "SQLITE_DBNAME": f"{sys.argv[1]}/events.db"})
    task = Task()
    app.save(task)
    mine, other = app.repository.get(task.id), app.repository.get(task.id)
    other.move(1)
    app.save(other)
    mine.move(2)
    try:
        app.save(mine)
        first = "written"
    except IntegrityError:
        first = "IntegrityError"
    try:
        second = app.save(mine)
    except IntegrityError:
        second = "IntegrityError"
    stored = app.repository.get(task.id).position
    print("first save:", first)
    print("second save:", second, "expected: IntegrityError")
    print("position in memory:", mine.position, "in the log:", stored)
    mine.move(3)
    app.save(mine)
    log = [step.position for step in app.events.get(task.id) if hasattr(step, "position")]
    print("moves in the log after one more:", log)
    stands = (first, second, mine.position, stored, log) == ("IntegrityError", [], 3, 1, [1, 3])
    if stands:
        print("AS DESCRIBED: a save that failed succeeds when repeated, and its event is lost")
        status = 0
    else:
        print("CHANGED: the behaviour differs from the description")
except Exception:
    traceback.print_exc(file=sys.stdout)
    print("CHANGED: the run ended with an error")
finally:
    sys.stdout.flush()
    os._exit(status)
END
timeout -k 10 120 "$work/venv/bin/python" "$work/show.py" "$work" &
run=$!
status=0
wait "$run" || status=$?
run=
[ "$status" -ne 124 ] || echo "NO ANSWER: stopped after 120 s"
exit "$status"
