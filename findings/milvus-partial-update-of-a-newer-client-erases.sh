#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus") and pymilvus 3.0.2.
#
# What: upsert(..., partial_update=True) is a field of the request that this server
# does not know yet. It takes the request for an ordinary upsert, without error: the row is
# replaced, and dynamic keys that the client did not name are erased.
# Expected: the other keys stay, or the call is refused by client or server.
# Seen in: pymilvus 3.0.2 with a server of 2.3.5.
# Why it matters: a sink that is moved to an older target, or a client that is upgraded
# before its server, loses data with each call that was answered with success.
# Instead: look at get_server_version before partial updates, and send whole rows to a
# server that is older than they are.
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

status = 1
try:
    server.start()
    client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
    print("server", client.get_server_version())

    collection("c", enable_dynamic_field=True)
    client.insert("c", [{"id": 1, "v": [0.0, 1.0], "color": "red", "size": 5}])
    new = {"id": 1, "v": [0.0, 1.0], "size": 6}
    print("upsert with partial_update:", client.upsert("c", [new], partial_update=True))
    row = client.query("c", filter="id == 1", output_fields=["*"], limit=1)[0]
    row.pop("v")
    print("row after it:", row)
    print("expected: {'id': 1, 'color': 'red', 'size': 6}, or an error")
    stands = row == {"id": 1, "size": 6}
    if stands:
        print("AS DESCRIBED: the partial update was taken as a whole one, and color is gone")
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
