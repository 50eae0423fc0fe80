#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus"), asked with pymilvus 3.0.2.
#
# What: three rows are inserted, two of them with the key 1. A query or a get without a
# limit answers with key 1 only: the row with key 2 is missing, though count(*) says 3,
# a query for key 2 alone finds it, and the same query with a limit returns it.
# The server hides copies of a key, but each copy uses up a place of the answer.
# Expected: every key once, [1, 2].
# Seen in: 2.3.5.
# Why it matters: a replication that repeats an insert after a failure leaves copies. Then
# a comparison of two clusters by query finds other rows "missing", and a repair that
# trusts it inserts still more copies.
# Instead: give every query a limit, or read with query_iterator; compare count(*), too.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus==2.3.5' 'pymilvus==3.0.2'
cat >"$work/show.py" <<'END'
import logging, os, pathlib, socket, sys, traceback
from milvus import MilvusServer, MilvusServerConfig
from pymilvus import DataType, MilvusClient

logging.disable(logging.CRITICAL)

folder = sys.argv[1]
names = ["etcd", "root_coord", "proxy", "proxy_internal", "query_coord", "query_node",
         "index_coord", "index_node", "data_coord", "data_node", "peer", "web"]
held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
ports = {name + "_port": each.getsockname()[1] for name, each in zip(names, held)}
for each in held:
    each.close()
peer, web = ports.pop("peer_port"), ports.pop("web_port")
etcd = pathlib.Path(folder, "etcd.yaml")
etcd.write_text(f"""name: default
data-dir: {folder}/etcd
listen-client-urls: http://127.0.0.1:{ports["etcd_port"]}
advertise-client-urls: http://127.0.0.1:{ports["etcd_port"]}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
""")
os.environ["ETCD_CONFIG_PATH"] = str(etcd)
server = MilvusServer(MilvusServerConfig(data_dir=f"{folder}/milvus", **ports))
server.webservice_port = web

def collection(name, **more):
    """Create a collection of a key and a vector, indexed and loaded."""
    schema = MilvusClient.create_schema(**more)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index,
                             consistency_level="Strong")


def keys(rows):
    return [row["id"] for row in rows]

status = 1
try:
    server.start()
    client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
    print("server", client.get_server_version())

    collection("c")
    client.insert("c", [{"id": key, "v": [0.0, 1.0]} for key in (1, 1, 2)])
    seen = {
        "count(*)": client.query("c", filter="", output_fields=["count(*)"])[0]["count(*)"],
        "query": keys(client.query("c", filter="id > 0")),
        "get 1 and 2": keys(client.get("c", ids=[1, 2])),
        "query for 2": keys(client.query("c", filter="id == 2")),
        "query, limit 100": keys(client.query("c", filter="id > 0", limit=100)),
    }
    for what, answer in seen.items():
        print(f"{what}: {answer}")
    print("expected of query and get: [1, 2]")
    stands = list(seen.values()) == [3, [1], [1], [2], [1, 2]]
    if stands:
        print("AS DESCRIBED: without a limit, the copy of key 1 pushes key 2 out of the answer")
        status = 0
    else:
        print("CHANGED: the behaviour differs from the description")
except Exception:
    traceback.print_exc(file=sys.stdout)
    print("CHANGED: the run ended with an error")
finally:
    server.stop()
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
