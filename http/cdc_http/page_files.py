"""The page at ``/``: files in the folder ``page``, and none from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import falcon

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'",
    *(f"{what}-src 'self'" for what in ("script", "style", "img", "connect")),
    *(f"{what} 'none'" for what in ("base-uri", "form-action", "frame-ancestors")),
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Nothing from other hosts, nothing inline, in nobody's frame."""


class PageResource:
    """``GET /`` and ``GET /page/{name}``. For anybody: there is nothing in them."""

    methods: ClassVar = ("GET",)
    open: ClassVar = True

    def __init__(self) -> None:
        files = (path for path in _FOLDER.iterdir() if path.suffix in _TYPES)
        self._files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in files
        }

    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, name: str = "index.html"
    ) -> None:
        """Answer with a file."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        resp.data, resp.content_type = self._files[name]
        resp.set_headers(HEADERS)
