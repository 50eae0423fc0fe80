"""The settings that an embedded Milvus starts with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from cdc_actors.embedded.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cdc_actors.embedded.ports import PortBlock

_COMPONENTS = (
    "rootCoord",
    "queryCoord",
    "queryNode",
    "dataCoord",
    "dataNode",
    "indexNode",
)
_LISTENERS = ("api", "internal", "metrics", "etcd", "etcd-peer", "nats", "index")
PORTS = (*_LISTENERS, *_COMPONENTS)
ETCD_FILE = "etcd.yaml"
_GLOG = "--minloglevel=2\n--logtostderr=true\n"

Tree = dict[str, Any]


def write(
    folder: Path,
    *,
    template: Path,
    ports: PortBlock,
    mq: str,
    broker: str,
    channels: str,
    wanted: Mapping[str, Any],
) -> None:
    """Write the settings of a Milvus that lives in ``folder`` to its ``configs``.

    ``template`` is Milvus's own file of defaults; what differs goes over it, and over
    that ``wanted``.
    """
    # The gaps of the template are all settings that are given here.
    filled = re.sub(r"\{\{.*?\}\}", "null", template.read_text("utf-8"))
    defaults = yaml.safe_load(filled)
    configs = folder / "configs"
    configs.mkdir(exist_ok=True)
    own = _merge(_components(ports), _stores(folder, ports, mq))
    own = _merge(own, _broker(mq, broker))
    own = _merge(own, {"msgChannel": {"chanNamePrefix": {"cluster": channels}}})
    own = _merge(_merge(own, _manners()), wanted)
    (configs / "milvus.yaml").write_text(yaml.safe_dump(_merge(defaults, own)), "utf-8")
    (configs / ETCD_FILE).write_text(yaml.safe_dump(_etcd(folder, ports)), "utf-8")
    (configs / "glog.conf").write_text(_GLOG, "utf-8")


def _merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _components(ports: PortBlock) -> Tree:
    tree: Tree = {name: {"ip": HOST, "port": ports[name]} for name in _COMPONENTS}
    proxy = {"ip": HOST, "port": ports["api"], "internalPort": ports["internal"]}
    node = {"bindIndexNodeMode": {"address": f"{HOST}:{ports['index']}"}}
    # A component of its own in 2.2, whose address is a setting as those of the others.
    index = {"address": HOST, "port": ports["index"]}
    return tree | {"proxy": proxy, "indexCoord": node | index}


def _stores(folder: Path, ports: PortBlock, mq: str) -> Tree:
    return {
        "etcd": {
            "endpoints": f"{HOST}:{ports['etcd']}",
            "log": {"level": "warn", "path": "stderr"},
            "data": {"dir": str(folder / "etcd")},
        },
        "localStorage": {"path": str(folder / "data")},
        "mq": {"type": mq},
        "rocksmq": {"path": str(folder / "rocksmq")},
        "natsmq": {"server": _nats(folder, ports)},
    }


def _broker(mq: str, broker: str) -> Tree:
    """Name the broker outside, where there is one."""
    if mq == "pulsar":
        return {"pulsar": {"address": broker}}
    if mq == "kafka":
        return {"kafka": {"brokerList": broker}}
    return {}


def _nats(folder: Path, ports: PortBlock) -> Tree:
    return {
        "port": ports["nats"],
        "storeDir": str(folder / "nats"),
        "monitor": {"logFile": str(folder / "nats.log")},
    }


def _manners() -> Tree:
    """Quiet, without limits that depend on the machine, and quick to leave."""
    return {
        "log": {"level": "warn", "file": {"rootPath": ""}},
        "quotaAndLimits": {"enabled": False},
        # Each load and each release waits for some of these; oftener takes more of a
        # processor all the time than it wins.
        "queryCoord": {
            "checkInterval": 200,
            "checkChannelInterval": 50,
            "checkSegmentInterval": 50,
            "distPullInterval": 200,
        },
        # The components wait for each other at start: many short waits, not few long.
        "grpc": {
            "client": {"initialBackOff": 0.05, "maxBackoff": 0.1, "maxMaxAttempts": 200}
        },
        "common": {
            "gracefulStopTimeout": 5,
            # How long a restarted Milvus waits for its dead self before it ticks.
            "session": {"ttl": 10},
            "security": {"authorizationEnabled": False, "tlsMode": 0},
        },
    }


def _etcd(folder: Path, ports: PortBlock) -> Tree:
    client = f"http://{HOST}:{ports['etcd']}"
    peer = f"http://{HOST}:{ports['etcd-peer']}"
    return {
        "name": "default",
        "data-dir": str(folder / "etcd"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "heartbeat-interval": 20,
        "election-timeout": 200,
        # What is written survives the process, not the machine: enough here.
        "unsafe-no-fsync": True,
    }
