#!/usr/bin/env bash
# Milvus 2.3.5 (standalone, from the package "milvus"), its files read with pyarrow 26.0.1;
# requests by pymilvus 3.0.2.
#
# What: in its files each row has a row id beside its key (system field 0). Rows that were
# inserted have one each that is unique in the cluster. Rows of a bulk import have 0, 1, 2,
# ..., counted anew for each file: two files, and each id is there twice.
# Expected: ids of the same kind, for the import fills the same column.
# Seen in: 2.3.5.
# Why it matters: a backup or a replication that reads the files and knows by row id what it
# has sent already takes the rows of the second file for those of the first, and leaves
# them out; nor does the order of the ids say which row is the newer.
# Instead: tell rows apart by key, timestamp (field 1) and file, never by row id.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus==2.3.5' 'pymilvus==3.0.2' 'pyarrow==26.0.1'
cat >"$work/show.py" <<'END'
import io, json, logging, os, pathlib, socket, sys, time, traceback
import pyarrow.parquet
from milvus import MilvusServer, MilvusServerConfig
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

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



def file_of_rows(number):
    """Write three rows to a file for the import; return its path."""
    rows = [{"id": 10 * number + each, "v": [0.0, 1.0]} for each in range(3)]
    path = pathlib.Path(folder, f"rows{number}.json")
    path.write_text(json.dumps({"rows": rows}))
    return str(path)


def imported(name, path):
    """Import a file into a collection and wait until that is done."""
    stub = client._get_connection()._stub
    task, = stub.Import(milvus_pb2.ImportRequest(collection_name=name, files=[path])).tasks
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = stub.GetImportState(milvus_pb2.GetImportStateRequest(task=task))
        if answer.state in (common_pb2.ImportCompleted, common_pb2.ImportFailed):
            break
        time.sleep(0.2)
    print("import:", common_pb2.ImportState.Name(answer.state), "rows:", answer.row_count)


def column(name, field):
    """Return the values of a field in each file of a collection, by segment."""
    number = client.describe_collection(name)["collection_id"]
    paths = sorted(pathlib.Path(folder).rglob(f"insert_log/{number}/*/*/{field}/*"))
    files = [path.read_bytes() for path in paths]
    # A header of events, then one Parquet file to the end.
    return [pyarrow.parquet.read_table(io.BytesIO(each[each.index(b"PAR1"):]))["val"].to_pylist()
            for each in files]

status = 1
try:
    server.start()
    client = MilvusClient(f"http://127.0.0.1:{server.listen_port}")
    print("server", client.get_server_version())

    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for name in ("inserted", "imported"):
        client.create_collection(name, schema=schema)
    for number in range(2):
        path = file_of_rows(number)
        client.insert("inserted", json.loads(pathlib.Path(path).read_text())["rows"])
        imported("imported", path)
    client.flush("inserted")
    keys, ids = ({name: column(name, field) for name in ("inserted", "imported")}
                 for field in (100, 0))
    for name in keys:
        print(f"{name}: keys {keys[name]} row ids {ids[name]}")
    print("expected: six different row ids in each collection")
    flat = sum(ids["inserted"], [])
    stands = (sorted(sum(keys["imported"], [])) == sorted(sum(keys["inserted"], []))
              == [0, 1, 2, 10, 11, 12]
              and len(set(flat)) == 6 and min(flat) > 2**32
              and ids["imported"] == [[0, 1, 2], [0, 1, 2]])
    if stands:
        print("AS DESCRIBED: the row ids of imported rows begin at 0 in each file")
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
