#!/usr/bin/env bash
# RocksDB's secondary instance, by way of rocksdict 0.3.29.
#
# What: a secondary is open, and the primary gets one more column family. Nothing happens
# until that family is first flushed to a file; from then on each try_catch_up_with_primary
# fails with "Corruption: MANIFEST record referencing unknown column family". Reading goes on
# without error, on what the secondary had before. The primary is sound: another secondary,
# opened now, reads all of it.
# Expected: the new family is ignored until the secondary is opened again, as RocksDB's
# documents say, and the families that it knows are followed.
# Seen in: rocksdict 0.3.29 (the RocksDB within it).
# Why it matters: this is how RocksMQ, the queue inside a standalone Milvus, is read from
# outside. A reader that drops the error of a catch-up as passing stands still for ever, and
# one that believes it reports a source as damaged.
# Instead: on this error open the secondary anew; only if that fails, too, speak of damage.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'rocksdict==0.3.29'
cat >"$work/show.py" <<'END'
import os, sys, traceback
from rocksdict import AccessType, Options, Rdict

folder = sys.argv[1]
primary = Rdict(f"{folder}/db", Options(raw_mode=True))


def secondary(name):
    families = {"default": Options(raw_mode=True)}
    return Rdict(f"{folder}/db", Options(raw_mode=True), column_families=families,
                 access_type=AccessType.secondary(f"{folder}/{name}"))


def catch_up(reader):
    try:
        reader.try_catch_up_with_primary()
    except Exception as error:
        return str(error).split("  ")[0]
    return "ok"

status = 1
try:
    primary[b"topic/1"] = b"one"
    primary.flush()
    reader = secondary("first")
    steps = []
    family = primary.create_column_family("more", Options(raw_mode=True))
    family[b"key"] = b"value"
    primary[b"topic/2"] = b"two"
    steps.append(("family created", catch_up(reader), list(reader.keys())))
    family.flush()
    primary[b"topic/3"] = b"three"
    for again in ("family flushed", "once more"):
        steps.append((again, catch_up(reader), list(reader.keys())))
    fresh = secondary("second")
    steps.append(("another secondary", catch_up(fresh), list(fresh.keys())))
    for what, answer, keys in steps:
        print(f"{what}: {answer}, sees {keys}")
    print("expected: ok each time, and three keys after the flush")
    two, three = [b"topic/1", b"topic/2"], [b"topic/1", b"topic/2", b"topic/3"]
    stands = (steps[0][1:] == ("ok", two) and steps[3][1:] == ("ok", three)
              and all("unknown column family" in answer and keys == two
                      for _, answer, keys in steps[1:3]))
    if stands:
        print("AS DESCRIBED: an open secondary is stuck, and reads on without error, once a new family is flushed")
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
