#!/usr/bin/env bash
# pymilvus 3.0.2, a Milvus Lite 3.2.2, and grpcio 1.85.3 between them.
#
# What: an insert whose answer is lost is sent again by pymilvus itself: the connection
# breaks (UNAVAILABLE) after the server has stored the row, the client reconnects and
# repeats the request. Keys are the server's (auto_id), so the row is there twice, and the
# caller is told of one. retry_times=1 does not stop it, nor does a timeout.
# Expected: an exception that leaves the decision to the caller, for an insert cannot be
# repeated safely; at the least that retry_times=1 means one try.
# Seen in: pymilvus 3.0.2.
# Why it matters: rows double at a target that is restarted or behind a proxy, without a
# retry of one's own and without a line in one's own log.
# Instead: give the rows keys and upsert them, or call the stub's Insert directly.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus-lite==3.2.2' 'pymilvus==3.0.2' 'grpcio==1.85.3'
cat >"$work/show.py" <<'END'
import logging, os, sys, traceback
from concurrent.futures import ThreadPoolExecutor
import grpc
from milvus_lite.server_manager import server_manager_instance as servers
from pymilvus import DataType, MilvusClient

logging.disable(logging.CRITICAL)
address = servers.start_and_get_uri(f"{sys.argv[1]}/lite.db")
client = MilvusClient(address)

class Between(grpc.GenericRpcHandler):
    """Passes requests on, and loses the answer to an Insert when told to."""

    def __init__(self):
        self.inserts = 0
        self.lose = False
        self._server = grpc.insecure_channel(address.removeprefix("http://"))

    def service(self, details):
        forward = self._server.unary_unary(details.method)

        def handle(request, context):
            answer = forward(request)
            if details.method.endswith("/Insert"):
                self.inserts += 1
                if self.lose:
                    self.lose = False
                    context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
            return answer

        return grpc.unary_unary_rpc_method_handler(handle)

status = 1
try:
    print("server", client.get_server_version())
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True, auto_id=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("c", schema=schema, index_params=index)
    between = Between()
    proxy = grpc.server(ThreadPoolExecutor(4))
    proxy.add_generic_rpc_handlers((between,))
    port = proxy.add_insecure_port("127.0.0.1:0")
    proxy.start()
    sink = MilvusClient(f"http://127.0.0.1:{port}")
    told = 0
    for options in ({}, {"timeout": 5, "retry_times": 1}):
        between.lose = True
        answer = sink.insert("c", [{"v": [0.0, 1.0]}], **options)
        told += answer["insert_count"]
        print(f"insert with {options}: {answer}")
    stored = client.query("c", filter="", output_fields=["count(*)"])[0]["count(*)"]
    print("inserts called: 2, told by the client:", told, "sent:", between.inserts,
          "rows stored:", stored)
    stands = (told, between.inserts, stored) == (2, 4, 4)
    if stands:
        print("AS DESCRIBED: each insert whose answer was lost is stored twice")
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
