#!/usr/bin/env bash
# pymilvus 3.0.2, a Milvus Lite 3.2.2, and grpcio 1.85.3 with TLS between them.
#
# What: MilvusClient("https://...", ca_pem_path=FILE) never opens the file: even one that
# does not exist is no error. The client goes by the CAs that gRPC brings along, so a
# server with a certificate of FILE's CA is refused: "illegal connection params or server
# unavailable" (a line of gRPC's own log tells of the certificate, none of the file).
# The same file as server_pem_path connects. ca_pem_path is read only together with
# client_pem_path and client_key_path. Nothing is let through that should not be: the
# certificate is checked in each case; what differs is which option names the CA.
# Expected: the CA file is used, or an error says that it is of no use alone.
# Seen in: pymilvus 3.0.2.
# Why it matters: a configuration with "CA file" fails at connecting and sends its operator
# to look at the server, the network and the certificate, which are sound.
# Instead: hand the CA over as server_pem_path where the client has no certificate.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus-lite==3.2.2' 'pymilvus==3.0.2' 'grpcio==1.85.3' 'trustme==1.2.1'
cat >"$work/show.py" <<'END'
import logging, os, sys, traceback
from concurrent.futures import ThreadPoolExecutor
import grpc, trustme
from milvus_lite.server_manager import server_manager_instance as servers
from pymilvus import MilvusClient

logging.disable(logging.CRITICAL)
lite = servers.start_and_get_uri(f"{sys.argv[1]}/lite.db")
authority = trustme.CA()
authority.cert_pem.write_to_path(f"{sys.argv[1]}/ca.pem")
certificate = authority.issue_cert("localhost")


class Forward(grpc.GenericRpcHandler):
    """Passes each request on to the server behind it."""

    def __init__(self):
        self._server = grpc.insecure_channel(lite.removeprefix("http://"))

    def service(self, details):
        forward = self._server.unary_unary(details.method)
        return grpc.unary_unary_rpc_method_handler(lambda request, _: forward(request))


def outcome(**options):
    """Return the answer over a connection of its own, or the error."""
    try:
        client = MilvusClient(f"https://localhost:{port}", timeout=3,
                              dedicated=True, **options)
        return client.list_collections()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

status = 1
try:
    front = grpc.server(ThreadPoolExecutor(4))
    front.add_generic_rpc_handlers((Forward(),))
    pair = (certificate.private_key_pem.bytes(),
            b"".join(each.bytes() for each in certificate.cert_chain_pems))
    port = front.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
    front.start()
    file = f"{sys.argv[1]}/ca.pem"
    told = {
        "server_pem_path=FILE": outcome(server_pem_path=file),
        "ca_pem_path=FILE": outcome(ca_pem_path=file),
        "neither": outcome(),
        "server_pem_path=MISSING": outcome(server_pem_path=file + ".missing"),
        "ca_pem_path=MISSING": outcome(ca_pem_path=file + ".missing"),
    }
    for options, answer in told.items():
        print(f"{options}: {answer}")
    print("expected: ca_pem_path as server_pem_path, or an error that names it")
    alone, without, missing = (told[each] for each in (
        "ca_pem_path=FILE", "neither", "ca_pem_path=MISSING"))
    stands = (told["server_pem_path=FILE"] == []
              and told["server_pem_path=MISSING"].startswith("FileNotFoundError")
              and alone == without == missing and alone.startswith("MilvusException")
              and "ca_pem_path" not in alone)
    if stands:
        print("AS DESCRIBED: a CA file alone is not read, and the error does not say so")
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
timeout -k 10 120 "$work/venv/bin/python" "$work/show.py" "$work" &
run=$!
status=0
wait "$run" || status=$?
run=
[ "$status" -ne 124 ] || echo "NO ANSWER: stopped after 120 s"
exit "$status"
