#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus"), asked with pymilvus 3.0.2.
#
# What: a Milvus with common.ttMsgEnabled: false, the standby of a replication, refuses each
# insert and delete ("deny to write the message to mq", 1303). Before the first of them
# nothing tells that it is one: version, health and the settings of all nodes in GetMetrics
# are those of an ordinary server, and it creates collections and partitions. What differs
# is the error for a ReplicateMessage request without content: 1900, "deny to use the
# replicate message in the normal instance", from an ordinary server, 1100, "invalid channel
# name", from the standby.
# Expected: the mode among the settings that GetMetrics lists, or a refusal of create too.
# Seen in: 2.3.5.
# Why it matters: a tool that prepares a target has made its collections there before the
# first row tells it that the server takes none.
# Instead: send that empty request, which changes nothing, and read the code of its error.
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
import json, logging, os, pathlib, socket, sys, traceback
from milvus import MilvusServer, MilvusServerConfig
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import milvus_pb2

logging.disable(logging.CRITICAL)


def prepared(folder, ticks):
    """Set up a Milvus that writes ticks of its own, or waits for replicated ones."""
    names = ["etcd", "root_coord", "proxy", "proxy_internal", "query_coord", "query_node",
             "index_coord", "index_node", "data_coord", "data_node", "peer", "web"]
    held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name + "_port": each.getsockname()[1] for name, each in zip(names, held)}
    for each in held:
        each.close()
    peer, web = ports.pop("peer_port"), ports.pop("web_port")
    etcd = pathlib.Path(folder, "etcd.yaml")
    etcd.parent.mkdir()
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
    config.set("common.ttMsgEnabled", ticks)
    server = MilvusServer(config)
    server.webservice_port = web
    return server


def code(call, *args, **options):
    """Return the code of the answer to a call, 0 for success."""
    try:
        call(*args, **options)
    except MilvusException as error:
        return error.code
    return 0


def told(client):
    """Return what the empty server tells about itself, and the answer to the probe."""
    stub = client._get_connection()._stub
    request = milvus_pb2.GetMetricsRequest(request=json.dumps({"metric_type": "system_info"}))
    metrics = stub.GetMetrics(request).response
    nodes = sorted((each["infos"]["type"], str(each["infos"].get("system_configurations")))
                   for each in json.loads(metrics)["nodes_info"])
    healthy = stub.CheckHealth(milvus_pb2.CheckHealthRequest()).isHealthy
    probe = stub.ReplicateMessage(milvus_pb2.ReplicateMessageRequest()).status
    print("version, health:", client.get_server_version(), healthy)
    print("ReplicateMessage, empty:", probe.code, probe.reason)
    return (client.get_server_version(), healthy, nodes, "ttMsg" in metrics), probe.code


def tried(client):
    """Return the codes of creating, of inserting and of deleting."""
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    codes = [code(client.create_collection, "c", schema=schema),
             code(client.create_partition, "c", "p"),
             code(client.insert, "c", [{"id": 1, "v": [0.0, 1.0]}]),
             code(client.delete, "c", ids=[1])]
    print("create_collection, create_partition, insert, delete:", codes)
    return codes


def seen(kind, ticks):
    """Start one, return what it tells and what it takes, and stop it."""
    server = prepared(f"{sys.argv[1]}/{kind}", ticks)
    try:
        server.start()
        print(f"{kind}, common.ttMsgEnabled: {ticks}")
        client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
        return *told(client), tried(client)
    finally:
        server.stop()

status = 1
try:
    normal, normal_probe, normal_codes = seen("ordinary", "true")
    standby, standby_probe, standby_codes = seen("standby", "false")
    print("version, health and settings are equal:", normal == standby, "expected: False")
    stands = (normal == standby and not normal[-1]
              and (normal_probe, standby_probe) == (1900, 1100)
              and (normal_codes, standby_codes) == ([0, 0, 0, 0], [0, 0, 1303, 1303]))
    if stands:
        print("AS DESCRIBED: an empty standby is known only by the code of an error")
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
