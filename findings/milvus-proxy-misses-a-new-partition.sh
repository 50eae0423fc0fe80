#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus"), asked with pymilvus 3.0.2.
#
# What: a client creates a partition while others already ask for it by its name, and are
# told that there is none. Once in about a thousand times the proxy goes on to say so after the
# partition was created, for good: it has written down what it asked for before, after it
# was told to forget. Everybody is shown the partition meanwhile, and no row gets in.
# Expected: once CreatePartition has been answered, what names the partition is taken.
# Seen in: 2.3.5.
# Why it matters: whoever writes into partitions that somebody else makes, as a replication
# that was killed and started again does, is refused for ever by a target that is well.
# Instead: alter any property of the collection: the proxy forgets it, and looks again.
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
import logging, os, pathlib, socket, sys, threading, time, traceback
from milvus import MilvusServer, MilvusServerConfig
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import milvus_pb2

logging.disable(logging.CRITICAL)
AT_ONCE, MOST_SECONDS, MOST_PARTITIONS = 48, 400, 500

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


def connected():
    return MilvusClient(f"http://127.0.0.1:{server.listen_port}", dedicated=True)


def missing(partition):
    """Return what is said of an empty delete from a partition."""
    try:
        client.delete("c", ids=[1], partition_name=partition)
        return ""
    except MilvusException as error:
        return str(error)


wanted, over = ["none"], threading.Event()
room = threading.Semaphore(AT_ONCE)

def ask():
    """Ask for the partition that is to be created next, many times at once."""
    stub = connected()._get_connection()._stub
    while not over.is_set():
        room.acquire()
        request = milvus_pb2.DeleteRequest(collection_name="c", expr="id in [1]",
                                           partition_name=wanted[0])
        stub.Delete.future(request, timeout=20).add_done_callback(lambda _: room.release())


status = 1
try:
    server.start()
    client = connected()
    print("server", client.get_server_version())

    collection("c")
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    begun, made, said = time.monotonic(), 0, ""
    while not said and time.monotonic() - begun < MOST_SECONDS:
        made += 1
        wanted[0] = f"p{made}"
        time.sleep(0.01)
        client.create_partition("c", wanted[0])
        said = missing(wanted[0])
        if made % MOST_PARTITIONS == 0:
            for each in client.list_partitions("c"):
                if each not in ("_default", wanted[0]):
                    client.release_partitions("c", [each])
                    client.drop_partition("c", each)
    over.set()
    asking.join()
    time.sleep(5)
    later, shown = missing(wanted[0]), wanted[0] in client.list_partitions("c")
    print(f"{made} partitions created; of the last a delete says, five seconds after:")
    print(later or "nothing", "- shown:", shown)
    client.alter_collection_properties("c", {"any": "property"})
    healed = missing(wanted[0])
    print("after a property was altered:", healed or "nothing")
    stands = "partition not found" in later and shown and not healed
    if stands:
        print("AS DESCRIBED: a partition that is there is not found")
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
timeout -k 10 540 "$work/venv/bin/python" "$work/show.py" "$work" &
run=$!
status=0
wait "$run" || status=$?
run=
[ "$status" -ne 124 ] || echo "NO ANSWER: stopped after 540 s"
exit "$status"
