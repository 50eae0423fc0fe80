#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus") with natsmq, its log read with
# nats-py 2.16.0; requests by pymilvus 3.0.2.
#
# What: the drop of a partition is in the log, its creation is not: the first message that
# names it is an Insert. In the same way the load and the release of a collection are
# there (channel of clients' requests), those of single partitions are not.
# Expected: creation beside drop, as there are CreateCollection and DropCollection.
# Seen in: 2.3.5.
# Why it matters: a target that lives on the log alone refuses the first rows of a new
# partition, never has one without rows, and does not notice what is loaded by partition.
# Instead: read or watch partitions and load state in etcd (root-coord/partitions,
# querycoord-partition-loadinfo) and put them into the order by their creation time.
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

    collection("c")
    client.release_collection("c")
    client.create_partition("c", "p")
    client.load_partitions("c", ["p"])
    client.insert("c", [{"id": 1, "v": [0.0, 1.0]}], partition_name="p")
    client.release_partitions("c", ["p"])
    client.drop_partition("c", "p")
    kinds = [kind for _, kind, _ in asyncio.run(whole_log())]
    print("kinds of messages:", sorted(set(kinds)))
    print("expected also: CreatePartition, LoadPartitions, ReleasePartitions")
    told = {"CreateCollection", "LoadCollection", "ReleaseCollection", "DropPartition", "Insert"}
    untold = {"CreatePartition", "LoadPartitions", "ReleasePartitions"}
    stands = told <= set(kinds) and not untold & set(kinds)
    if stands:
        print("AS DESCRIBED: the log tells of the drop of a partition, not of its creation or loading")
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
