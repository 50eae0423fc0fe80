#!/usr/bin/env bash
# pulsar-client 3.13.0 (no broker is needed).
#
# What: an id that was made with pulsar.MessageId(...) is of another class than the one that
# MessageId.deserialize, MessageId.earliest and a received message give. The two cannot be
# compared: == raises TypeError instead of answering, so an id is not even equal to its own
# serialized copy. Neither kind can be hashed, pickled or put into a set.
# Expected: deserialize(id.serialize()) == id, and ids as keys of a dict.
# Seen in: 3.13.0.
# Why it matters: Milvus keeps positions of its Pulsar channels as serialized ids. Code that
# builds one id by number and compares it with one of the catalog or of a message fails at
# that moment, in production rather than in a test that only makes ids.
# Instead: turn every id into a tuple (ledger_id, entry_id, batch_index) and compare those;
# make ids by way of deserialize only.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'pulsar-client==3.13.0'
cat >"$work/show.py" <<'END'
import os, pickle, sys, traceback
import pulsar

def outcome(call):
    """Return what a call answers, or the kind of its error."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__

status = 1
try:
    made = pulsar.MessageId(-1, 10, 5, -1)
    read = pulsar.MessageId.deserialize(made.serialize())
    seen = {
        "read == made": outcome(lambda: read == made),
        "made < MessageId.latest": outcome(lambda: made < pulsar.MessageId.latest),
        "read < MessageId.latest": outcome(lambda: read < pulsar.MessageId.latest),
        "bytes equal": made.serialize() == read.serialize(),
        "hash(made)": outcome(lambda: hash(made)),
        "hash(read)": outcome(lambda: hash(read)),
        "pickle of read": outcome(lambda: pickle.dumps(read)),
    }
    for what, answer in seen.items():
        print(f"{what}: {answer}")
    print("expected: True, True, True, True, and no error")
    stands = list(seen.values()) == [
        "TypeError", "AttributeError", True, True, "TypeError", "TypeError", "TypeError"]
    if stands:
        print("AS DESCRIBED: an id and its own serialized copy cannot be compared")
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
