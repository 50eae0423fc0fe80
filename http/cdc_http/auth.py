"""Who calls: every request is somebody's before a resource sees it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import falcon
import structlog

from cdc_http.page_files import PageResource
from cdc_http.passing_on import client_of
from cdc_http.tokens import TokenRing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.config.auth import Role, Token

_HOW = "send the header `Authorization: Bearer TOKEN`"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request; ``token_name`` is None where no tokens are asked for."""

    role: Role
    token_name: str | None = None

    def check(self, needed: Role, what: str) -> None:
        """Refuse ``what`` if it needs a role that the caller has not.

        Raises:
            falcon.HTTPForbidden: It does.
        """
        if needed == "operator" and self.role != "operator":
            raise falcon.HTTPForbidden(
                description=f"the token {self.token_name} has the role {self.role}, "
                f"and {what} needs the role {needed}"
            )


class AuthMiddleware:
    """Middleware that puts the ``Caller`` into a request's context, or refuses it.

    Without any tokens everybody is an operator. Resources that say they are ``open``
    also serve requests without a token, whose caller is then None.
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._ring = TokenRing(tokens)

    def process_resource(
        self,
        req: falcon.Request,
        _resp: falcon.Response,
        resource: Any,
        _params: dict[str, Any],
    ) -> None:
        """Find out who calls. The page's files are anybody's: they say why not, if so."""
        if isinstance(resource, PageResource):
            return
        req.context.caller = self._caller(req, is_open=resource.open)

    def _caller(self, req: falcon.Request, *, is_open: bool) -> Caller | None:
        if not self._ring:
            _refuse_web_pages(req)
            return Caller("operator")
        if req.auth is None:
            if is_open:
                return None
            raise _unauthorized(req, f"a token is needed, {_HOW}")
        scheme, _, text = req.auth.partition(" ")
        token = self._ring.find(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise _unauthorized(req, f"the token is not one of this service, {_HOW}")
        return Caller(token.role, token.name)


def _refuse_web_pages(req: falcon.Request) -> None:
    """Where nobody needs a token, no page in a browser of this machine may ask.

    A page of any site can post to a loopback address; its browser then says which site
    that is (the Fetch standard, "Origin"). Our own clients send no such header, and our
    own page has the address that its requests go to.
    """
    origin = req.get_header("Origin")
    if origin is not None and not _is_our_page(req, origin):
        raise falcon.HTTPForbidden(
            description=f"requests of web pages ({origin}) are refused without a token; "
            "make one with `cdc-actors token create`, or open the service's own page at "
            "localhost or an IP address"
        )


def _is_our_page(req: falcon.Request, origin: str) -> bool:
    """Tell whether a page comes from where its request goes to.

    A stranger's name can be made to lead here, too, once his page is loaded ("DNS
    rebinding"): page and request then have the same name. ``localhost`` and addresses are
    given out by nobody else. The scheme is that of this server: a proxy in front that
    speaks another one serves strangers, and needs tokens.
    """
    host = req.get_header("Host", default="").lower()
    return origin == f"{req.scheme}://{host}" and _leads_nowhere_else(host)


def _leads_nowhere_else(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False


def _unauthorized(req: falcon.Request, why: str) -> falcon.HTTPUnauthorized:
    _log.warning("request_unauthorized", address=client_of(req))
    return falcon.HTTPUnauthorized(description=why, challenges=["Bearer"])
