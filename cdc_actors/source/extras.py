"""Which libraries the sections of ``sourceConfig`` need: each comes with an extra."""

from __future__ import annotations

import importlib.util

from cdc_actors.errors import OperatorError

_LIBRARIES = {
    "rocksmq": ("rocksdict", "rocksmq"),
    "kafka": ("confluent_kafka", "kafka"),
    "pulsar": ("pulsar", "pulsar"),
    "storage": ("pyarrow", "snapshot"),
}
"""By section: the module that is imported, and the extra that brings it."""


def check_library(section: str) -> None:
    """Raise OperatorError where the library of a section is missing.

    The text has the command that installs it.
    """
    library, extra = _LIBRARIES.get(section, (None, ""))
    if library is not None and importlib.util.find_spec(library) is None:
        raise OperatorError(
            f"sourceConfig.{section} needs a library that is not installed: "
            f"pip install 'cdc-actors[{extra}]'"
        )
