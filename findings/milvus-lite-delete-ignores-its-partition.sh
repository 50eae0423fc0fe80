#!/usr/bin/env bash
# Milvus Lite 3.2.2, asked with pymilvus 3.0.2.
#
# What: a delete that names a partition takes the key away from whatever partition has it,
# and an insert of a key into one partition removes the row of that key in another.
# Partitions can be named in a query, but keys are one space for the whole collection.
# Expected: as in Milvus (tried with 2.3.5), where a delete with a partition leaves the
# others alone and each partition has its own row of a key.
# Seen in: 3.2.2.
# Why it matters: rows that the source still has are lost at a target of Milvus Lite when
# the source deletes the same key from another partition, or writes it to another one.
# Instead: before a delete with a partition ask that partition which of the keys it has,
# and delete only those; do not replicate one key in two partitions to Milvus Lite.
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

def collection(name, **more):
    """Create a collection of a key and a vector, indexed and loaded."""
    schema = MilvusClient.create_schema(**more)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index)


def keys(*partitions):
    rows = client.query("c", filter="id > 0", partition_names=list(partitions))
    return sorted(row["id"] for row in rows)

status = 1
try:
    print("server", client.get_server_version())
    collection("c")
    for partition in ("a", "b"):
        client.create_partition("c", partition)
    client.insert("c", [{"id": key, "v": [0.0, 1.0]} for key in (1, 2, 3)], partition_name="a")
    start = keys("a")
    client.delete("c", ids=[1], partition_name="b")
    deleted = keys("a")
    client.insert("c", [{"id": 2, "v": [0.0, 1.0]}], partition_name="b")
    inserted = keys("a")
    print("partition a:", start)
    print("after key 1 was deleted from partition b:", deleted, "expected: [1, 2, 3]")
    print("after key 2 was inserted into partition b:", inserted, "expected: [1, 2, 3]")
    stands = (start, deleted, inserted) == ([1, 2, 3], [2, 3], [3])
    if stands:
        print("AS DESCRIBED: writes that name partition b removed rows of partition a")
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
