#!/usr/bin/env bash
# pymilvus 3.0.2: MilvusClient beside AsyncMilvusClient, at a Milvus Lite 3.2.2.
#
# What: AsyncMilvusClient.delete does not look at the status of the answer. Where the server
# refuses the delete, here since the collection is gone, it returns as if nothing had been
# found. MilvusClient.delete raises the server's error for the same request.
# Expected: the same exception from both.
# Seen in: pymilvus 3.0.2.
# Why it matters: a sink on the asynchronous client takes refused deletes for done and moves
# its position past them; the rows stay at the target for ever.
# Instead: delete with the synchronous client in a thread, or send DeleteRequest by the
# stub and check the status.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'milvus-lite==3.2.2' 'pymilvus==3.0.2'
cat >"$work/show.py" <<'END'
import asyncio, logging, os, sys, traceback
from milvus_lite.server_manager import server_manager_instance as servers
from pymilvus import AsyncMilvusClient, DataType, MilvusClient

logging.disable(logging.CRITICAL)
address = servers.start_and_get_uri(f"{sys.argv[1]}/lite.db")
client = MilvusClient(address)

def collection(name, **more):
    """Create a collection of a key and a vector, indexed and loaded."""
    schema = MilvusClient.create_schema(**more)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index)


async def deletes():
    """Return the answers to a delete with the collection there, and after its drop."""
    other = AsyncMilvusClient(address)
    answers = [await other.delete("c", ids=[1])]
    client.drop_collection("c")
    try:
        answers.append(await other.delete("c", filter="id in [1]"))
    except Exception as error:
        answers.append(f"{type(error).__name__}: {error}")
    await other.close()
    return answers

status = 1
try:
    print("server", client.get_server_version())
    collection("c")
    client.insert("c", [{"id": 1, "v": [0.0, 1.0]}])
    there, gone = asyncio.run(deletes())
    try:
        sync = client.delete("c", filter="id in [1]")
    except Exception as error:
        sync = f"{type(error).__name__}: {error.message}"
    print("asynchronous, collection there:", there)
    print("asynchronous, collection gone:", gone, "expected: an exception")
    print("synchronous, collection gone:", sync)
    stands = not isinstance(gone, str) and "does not exist" in str(sync)
    if stands:
        print("AS DESCRIBED: the asynchronous client returned from a delete that the server refused")
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
