#!/usr/bin/env bash
# Milvus Lite 3.2.2, asked with pymilvus 3.0.2.
#
# What: drop_collection with the name of an alias drops the collection that it stands for,
# rows and all.
# Expected: an error, as in Milvus (2.3.5 says: cannot drop the collection via alias).
# Seen in: 3.2.2.
# Why it matters: a replication whose target name is an alias there, or a clean-up that
# drops names it does not know, removes a collection that goes by another name.
# Instead: compare describe_collection(name)["collection_name"] with the name before a drop.
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
    collection("real")
    client.create_alias("real", "nick")
    named = client.describe_collection("nick")["collection_name"]
    client.drop_collection("nick")
    left = client.list_collections()
    print("describe_collection of the alias names:", named)
    print("collections after drop_collection of the alias:", left, "expected: an error")
    stands = named == "real" and left == []
    if stands:
        print("AS DESCRIBED: dropping an alias as a collection dropped the collection")
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
