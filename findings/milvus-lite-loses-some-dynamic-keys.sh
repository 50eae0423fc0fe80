#!/usr/bin/env bash
# Milvus Lite 3.2.2, asked with pymilvus 3.0.2.
#
# What: dynamic keys of a row that are called _seq or _partition, as Lite calls columns of
# its own, are thrown away on insert, without error; other keys of the row are kept.
# Expected: kept, as in Milvus (tried with 2.3.5), or refused.
# Seen in: 3.2.2.
# Why it matters: rows replicated to Milvus Lite differ from the source in these keys, and
# nothing says so: the insert is answered with the full count.
# Instead: refuse or rename such keys before they are sent to Lite.
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

status = 1
try:
    print("server", client.get_server_version())
    collection("c", enable_dynamic_field=True)
    sent = {"id": 1, "v": [0.0, 1.0], "_seq": 7, "_partition": "x", "_other": 8}
    print("insert:", client.insert("c", [sent]))
    row = client.query("c", filter="id == 1", output_fields=["*"])[0]
    lost = sorted(set(sent) - set(row))
    print("keys that came back:", sorted(row), "lost:", lost, "expected: none lost")
    stands = lost == ["_partition", "_seq"] and row["_other"] == 8
    if stands:
        print("AS DESCRIBED: _seq and _partition were taken and thrown away")
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
