#!/usr/bin/env bash
# rocksdict 0.3.29.
#
# What: opening a database as a secondary, which RocksDB does without touching the folder of
# the primary, writes a file rocksdict-config.json into that folder, and leaves it there.
# Expected: only the secondary's own folder is written to.
# Seen in: 0.3.29.
# Why it matters: the primary's folder is that of a running Milvus (RocksMQ). A reader of
# its log needs the right to write there, changes what a backup or a checksum of the folder
# sees, and leaves a file that no part of Milvus knows.
# Instead: allow for the file where folders are compared or mounted without the right to
# write, or remove it once the reader is open: it reads on without it.
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

place, own = f"{sys.argv[1]}/db", f"{sys.argv[1]}/own"

status = 1
try:
    primary = Rdict(place, Options(raw_mode=True))
    primary[b"topic/1"] = b"one"
    primary.flush()
    os.remove(f"{place}/rocksdict-config.json")  # a database that another program made has none
    before = set(os.listdir(place))
    reader = Rdict(place, Options(raw_mode=True), access_type=AccessType.secondary(own),
                   column_families={"default": Options(raw_mode=True)})
    written = sorted(set(os.listdir(place)) - before)
    for name in written:
        os.remove(f"{place}/{name}")
    primary[b"topic/2"] = b"two"
    reader.try_catch_up_with_primary()
    keys = list(reader.keys())
    print("new files in the folder of the primary:", written, "expected: none")
    print("keys that the secondary reads once they are removed:", keys)
    stands = keys == [b"topic/1", b"topic/2"] and written == ["rocksdict-config.json"]
    if stands:
        print("AS DESCRIBED: a secondary left a file in the folder of the primary")
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
