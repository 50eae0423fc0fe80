#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus"), asked with pymilvus 3.0.2.
#
# What: a collection that has an alias can be dropped. The alias is then listed by nobody
# and cannot be described, but it is still there: create_alias of that name is refused.
# A collection of that name is accepted, and is out of reach: it is listed, but describing
# it says that it does not exist, and dropping it is refused since its name is an alias.
# Expected: the drop refused or the alias gone with its collection; else the name taken.
# Seen in: 2.3.5.
# Why it matters: a target on which names are used again gets collections that can neither
# be filled nor dropped, and no listing shows why.
# Instead: drop aliases before their collection. To get out of it: drop_alias works on an
# alias that is not there for anybody else, and frees the collection.
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


def attempt(call, *more):
    """Return what a call answers, or the text of its error."""
    try:
        return call(*more)
    except Exception as error:
        return f"{type(error).__name__}: {getattr(error, 'message', error)}"

status = 1
try:
    server.start()
    client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
    print("server", client.get_server_version())

    collection("old")
    collection("other")
    client.create_alias("old", "nick")
    client.drop_collection("old")
    listed = client.list_aliases()["aliases"]
    steps = {
        "describe_alias": attempt(client.describe_alias, "nick"),
        "create_alias": attempt(client.create_alias, "other", "nick"),
    }
    collection_made = attempt(collection, "nick")
    there = sorted(client.list_collections())
    steps["describe_collection"] = attempt(client.describe_collection, "nick")
    steps["drop_collection"] = attempt(client.drop_collection, "nick")
    print("aliases listed:", listed)
    for what, answer in steps.items():
        print(f"{what}: {answer}")
    print("collections listed:", there)
    client.drop_alias("nick")
    freed = attempt(client.drop_collection, "nick")
    print("drop_collection after drop_alias:", freed, client.list_collections())
    stands = (listed == [] and "not found" in steps["describe_alias"]
              and "already exist" in steps["create_alias"] and there == ["nick", "other"]
              and "not found" in steps["describe_collection"]
              and "via alias" in steps["drop_collection"]
              and freed is None and client.list_collections() == ["other"])
    if stands:
        print("AS DESCRIBED: an alias that nobody can see makes a new collection of its name unreachable")
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
