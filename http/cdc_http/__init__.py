"""The HTTP API: a Falcon app served by waitress."""

from __future__ import annotations

from cdc_http.app import create_app
from cdc_http.server import Server

__all__ = ["Server", "create_app"]
