#!/usr/bin/env bash
# Milvus Lite 3.2.2, asked with pymilvus 3.0.2.
#
# What: an ordinary upsert, partial_update not set, merges the dynamic keys of the new row
# into those of the old one: a key that the new row does not have keeps its old value.
# Columns of the schema are replaced as expected (a nullable one left out becomes null).
# Expected: as in Milvus (tried with 2.3.5), where an upsert is a delete and an insert.
# Seen in: 3.2.2.
# Why it matters: a key that the source has removed from a row stays at the target for ever,
# and a filter on it finds the row there only.
# Instead: delete the row, then insert it; or send removed keys as null on purpose. (An
# insert over the old row replaces the keys, as far as Lite lets an insert replace a row.)
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus-lite==3.2.2' 'pymilvus==3.0.2'
cat >"$work/show.py" <<'END'
import logging, os, sys, traceback
from pymilvus import DataType, MilvusClient

logging.disable(logging.CRITICAL)
client = MilvusClient(f"{sys.argv[1]}/lite.db")


status = 1
try:
    print("server", client.get_server_version())
    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("note", DataType.VARCHAR, max_length=9, nullable=True)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("c", schema=schema, index_params=index)
    client.insert("c", [{"id": 1, "v": [0.0, 1.0], "note": "old", "color": "red", "size": 5}])
    client.upsert("c", [{"id": 1, "v": [0.0, 1.0], "size": 6}])
    row = client.query("c", filter="id == 1", output_fields=["*"])[0]
    row.pop("v")
    found = len(client.query("c", filter="color == 'red'"))
    print("row after the upsert:", row, "found by color:", found)
    print("expected: {'id': 1, 'note': None, 'size': 6}, found by color: 0")
    stands = row == {"id": 1, "note": None, "color": "red", "size": 6} and found == 1
    if stands:
        print("AS DESCRIBED: a dynamic key that the new row does not have kept its old value")
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
timeout -k 10 240 "$work/venv/bin/python" "$work/show.py" "$work" &
run=$!
status=0
wait "$run" || status=$?
run=
[ "$status" -ne 124 ] || echo "NO ANSWER: stopped after 240 s"
exit "$status"
