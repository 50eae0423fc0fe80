#!/usr/bin/env bash
# Milvus Lite 3.2.2, asked with pymilvus 3.0.2.
#
# What: the names of indexes are thrown away. Two indexes created as "by_v" and "by_w" are
# listed under the names of their fields, and drop_index of "by_v" answers with success and
# drops both. A name that no index ever had does the same.
# Expected: as in Milvus, the names that were given, and the drop of the index named.
# Seen in: 3.2.2.
# Why it matters: a target on which one index of several is exchanged loses the others,
# for the searches of all other vector fields, too.
# Instead: treat indexes of a Lite collection as one thing: after a drop create the others
# again, and find an index by its field, not by its name.
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
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    index = client.prepare_index_params()
    for field in ("v", "w"):
        schema.add_field(field, DataType.FLOAT_VECTOR, dim=2)
        index.add_index(field, index_type="FLAT", metric_type="L2", index_name=f"by_{field}")
    seen = []
    for dropped in ("by_v", "never_there"):
        client.create_collection(dropped, schema=schema)
        client.create_index(dropped, index)
        client.release_collection(dropped)
        names = sorted(client.list_indexes(dropped))
        client.drop_index(dropped, dropped)
        seen.append((names, client.list_indexes(dropped)))
        print(f"indexes: {names} after the drop of {dropped}: {seen[-1][1]}")
    print("expected: ['by_v', 'by_w'], then ['by_w'] and, for the other, both")
    stands = seen == [(["v", "w"], [])] * 2
    if stands:
        print("AS DESCRIBED: the drop of one index by name dropped them all")
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
