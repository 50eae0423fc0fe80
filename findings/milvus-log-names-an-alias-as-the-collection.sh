#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus") with natsmq, its log read with
# nats-py 2.16.0; requests by pymilvus 3.0.2.
#
# What: rows inserted by way of an alias stand in the log with the alias in the field
# collection_name. The alias itself is told by no message at all, neither its creation nor
# its move to another collection nor its drop.
# Expected: the name of the collection, for the server resolves the alias before it writes.
# Seen in: 2.3.5.
# Why it matters: a reader that sorts messages by collection_name takes the rows for those
# of an unknown collection, or, once the alias has moved, of the wrong one.
# Instead: go by collectionID, which is right in each message, and find the name in the
# catalog.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus==2.3.5' 'pymilvus==3.0.2' 'nats-py==2.16.0'
cat >"$work/show.py" <<'END'
import asyncio, logging, os, pathlib, socket, sys, traceback
import nats
from milvus import MilvusServer, MilvusServerConfig
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, msg_pb2

logging.disable(logging.CRITICAL)

folder = sys.argv[1]
names = ["etcd", "root_coord", "proxy", "proxy_internal", "query_coord", "query_node",
         "index_coord", "index_node", "data_coord", "data_node", "peer", "web", "nats"]
held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
ports = {name + "_port": each.getsockname()[1] for name, each in zip(names, held)}
for each in held:
    each.close()
peer, web, nats_port = (ports.pop(each + "_port") for each in ("peer", "web", "nats"))
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
config = MilvusServerConfig(data_dir=f"{folder}/milvus", **ports)
config.set("mq.type", "natsmq")
config.set("natsmq.server.port", nats_port)
config.set("natsmq.server.storeDir", f"{folder}/nats")
config.set("natsmq.server.monitor.logFile", f"{folder}/nats.log")
server = MilvusServer(config)
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

async def whole_log():
    """Return every message but the ticks, in the order of each channel."""
    connection = await nats.connect(f"nats://127.0.0.1:{nats_port}")
    log = connection.jetstream()
    messages = []
    for stream in await log.streams_info():
        name, state = stream.config.name, stream.state
        for number in range(state.first_seq, state.last_seq + 1 if state.messages else 0):
            data = (await log.get_msg(name, number)).data
            kind = common_pb2.MsgHeader.FromString(data).base.msg_type
            if kind not in (common_pb2.TimeTick, common_pb2.DataNodeTt):
                messages.append((name, common_pb2.MsgType.Name(kind), data))
    await connection.close()
    return messages

status = 1
try:
    server.start()
    client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
    print("server", client.get_server_version())

    collection("real")
    number = client.describe_collection("real")["collection_id"]
    client.create_alias("real", "nick")
    client.insert("nick", [{"id": 1, "v": [0.0, 1.0]}])
    client.insert("real", [{"id": 2, "v": [0.0, 1.0]}])
    collection("other")
    client.alter_alias("other", "nick")
    client.drop_alias("nick")
    log = asyncio.run(whole_log())
    inserts = [msg_pb2.InsertRequest.FromString(data) for _, kind, data in log
               if kind == "Insert"]
    names = [body.collection_name for body in inserts]
    kinds = {kind for _, kind, _ in log}
    print("collection_name of the two inserts:", names, "expected: ['real', 'real']")
    print("same collectionID:", {body.collectionID for body in inserts} == {number})
    print("kinds of messages:", sorted(kinds))
    stands = (names == ["nick", "real"] and {body.collectionID for body in inserts} == {number}
              and not any("Alias" in kind for kind in kinds))
    if stands:
        print("AS DESCRIBED: the log has the alias where the collection should be")
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
