#!/usr/bin/env bash
# pykka 4.5.0.
#
# What: an actor whose on_start raises is dead and gone from the registry, and neither its
# on_failure nor its on_stop is called. start() has returned a reference as ever; the first
# to notice is whoever sends the next message. An exception in on_receive of a message that
# was told does call on_failure.
# Expected: on_failure, described as run after an unhandled exception and before the actor
# stops; or else on_stop, for on_start may have opened things.
# Seen in: 4.5.0.
# Why it matters: supervision is built on on_failure, as pykka has none of its own. An actor
# that reads a queue and cannot connect in on_start is never restarted, and what it had
# opened before stays open, while the service looks well.
# Instead: do what may fail in a first message that the actor tells itself, or wrap on_start
# in a base class that reports its failure and closes what was opened.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'pykka==4.5.0'
cat >"$work/show.py" <<'END'
import logging, os, sys, threading, traceback
import pykka

logging.disable(logging.CRITICAL)

class Reader(pykka.ThreadingActor):
    def __init__(self, fails_in):
        super().__init__()
        self.fails_in, self.called = fails_in, called

    def on_start(self):
        called.append("on_start")
        if self.fails_in == "on_start":
            raise RuntimeError("no connection")

    def on_receive(self, message):
        raise RuntimeError("no connection")

    def on_failure(self, *error):
        called.append("on_failure")

    def on_stop(self):
        called.append("on_stop")

status = 1
try:
    seen = {}
    for place in ("on_start", "on_receive"):
        called = []
        others = set(threading.enumerate())
        actor = Reader.start(place)
        if place == "on_receive":
            actor.tell("work")
        for thread in set(threading.enumerate()) - others:
            thread.join(10)
        seen[place] = called, actor.is_alive(), len(pykka.ActorRegistry.get_all())
    for place, (called, alive, known) in seen.items():
        print(f"failure in {place}: called {called}, alive: {alive}, in the registry: {known}")
    print("expected: on_failure in both")
    stands = seen == {"on_start": (["on_start"], False, 0),
                      "on_receive": (["on_start", "on_failure"], False, 0)}
    if stands:
        print("AS DESCRIBED: an actor that failed in on_start went without on_failure and on_stop")
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
