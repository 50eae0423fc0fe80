"""The file that a request is read from."""

from __future__ import annotations

import json
from typing import IO, Any

import yaml

from cdc_actors.errors import OperatorError

_OBJECTS = ("milvus_connect_param", "extra_info")
"""What options add to, of what the file has."""


def read_request(file: IO[str]) -> dict[str, Any]:
    """Return the request of a file, in YAML or JSON.

    Raises:
        OperatorError: It has another form.
    """
    try:
        request = yaml.safe_load(file)
    except (yaml.YAMLError, ValueError) as error:
        words = " ".join(str(error).split())
        raise OperatorError(f"{file.name} is neither YAML nor JSON: {words}") from error
    except RecursionError as error:
        raise OperatorError(f"{file.name} is nested too deeply") from error
    if not isinstance(request, dict) or {*map(type, request)} - {str}:
        raise OperatorError(f"{file.name} must hold the fields of a request")
    for name in _OBJECTS:
        if not isinstance(request.get(name) or {}, dict):
            raise OperatorError(f"{file.name}: {name} must hold fields of its own")
    try:
        json.dumps(request, allow_nan=False)
    except (TypeError, ValueError) as error:
        text = (
            f"{file.name} has a value that JSON has not, such as a date without quotes: "
            f"{error}"
        )
        raise OperatorError(text) from error
    return request
