"""Where the target is: milvus-cdc's many ways to say it, as one address and one token.

No message here repeats an address: it may hold a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from cdc_actors.errors import InvalidRequestError
from cdc_actors.tasks.spec import ConnectParam

if TYPE_CHECKING:
    from cdc_http.requests import MilvusConnectParam

DEFAULT_CONNECT_SECONDS = 10
MAX_CONNECT_SECONDS = 600
_MAX_PORT = 65535
_SCHEMES = ("http", "https", "tcp")


def target_of(given: MilvusConnectParam) -> tuple[ConnectParam, str]:
    """Return the connection without credentials, and the token (empty for none).

    ``uri`` wins over ``host`` and ``port``; ``token`` over ``username`` and
    ``password``, and those over credentials inside the uri.

    Raises:
        InvalidRequestError: A field is missing or wrong; the message names it.
    """
    address = _split(given.uri or _uri_of_host(given))
    _check_tls(given, address)
    _check_both(given.username, given.password)
    dial = given.dial_config
    connect = ConnectParam(
        uri=f"{address.scheme}://{address.netloc.rpartition('@')[2]}",
        connect_timeout=_connect_seconds(given.connect_timeout),
        server_name=dial.server_name,
        server_pem_path=dial.server_pem_path,
        ca_pem_path=dial.ca_pem_path,
        client_pem_path=dial.client_pem_path,
        client_key_path=dial.client_key_path,
    )
    return connect, _token(given, address)


def _uri_of_host(given: MilvusConnectParam) -> str:
    port = int(given.port)
    if not given.host:
        raise InvalidRequestError("the milvus host is empty")
    if port <= 0:
        raise InvalidRequestError("the milvus port is less or equal zero")
    if port > _MAX_PORT:
        raise InvalidRequestError(f"the milvus port is greater than {_MAX_PORT}")
    if set("/@?#") & set(given.host):
        raise InvalidRequestError(
            "milvus_connect_param.host is a host name or an IP address and no more, "
            "use milvus_connect_param.uri for an address with a scheme"
        )
    host = f"[{given.host.strip('[]')}]" if ":" in given.host else given.host
    return f"{'https' if given.enable_tls else 'http'}://{host}:{port}"


def _split(uri: str) -> SplitResult:
    if not uri.isprintable() or " " in uri:
        raise _uri_error("holds a space or a control character")
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise _uri_error("has a host or a port that is none") from error
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise _uri_error("does not begin with http://, https:// or tcp://")
    if not parts.hostname:
        raise InvalidRequestError("the milvus host is empty")
    if port == 0:
        raise InvalidRequestError("the milvus port is less or equal zero")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise _uri_error("has something behind the port")
    return parts


def _uri_error(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"milvus_connect_param.uri {what}, write it as http://localhost:19530"
    )


def _check_tls(given: MilvusConnectParam, address: SplitResult) -> None:
    if given.enable_tls and address.scheme != "https":
        raise InvalidRequestError(
            "milvus_connect_param.enable_tls is true but the uri is not https, "
            "write the uri with https"
        )
    dial = msgspec.structs.asdict(given.dial_config) | {"channel_num": 0}
    if address.scheme != "https" and (files := [name for name in dial if dial[name]]):
        raise InvalidRequestError(
            f"milvus_connect_param.dial_config has {', '.join(files)}, but without TLS "
            "the token would go out in clear: write the uri with https, or set enable_tls "
            "with host and port"
        )
    mutual = given.dial_config.client_pem_path, given.dial_config.client_key_path
    if any(mutual) and not all([*mutual, given.dial_config.ca_pem_path]):
        raise InvalidRequestError(
            "milvus_connect_param.dial_config needs all of client_pem_path, "
            "client_key_path and ca_pem_path where it has a client's certificate"
        )


def _check_both(username: str | None, password: str | None) -> None:
    if bool(username) != bool(password):
        raise InvalidRequestError(
            "cannot set only one of the milvus username and password"
        )


def _connect_seconds(given: int) -> int:
    if given < 0:
        # The words are milvus-cdc's: its clients may match on them.
        raise InvalidRequestError("the milvus connect timeout is less zero")
    if given > MAX_CONNECT_SECONDS:
        raise InvalidRequestError(
            "the milvus connect timeout, milvus_connect_param.connect_timeout, "
            f"is greater than {MAX_CONNECT_SECONDS} seconds"
        )
    return given or DEFAULT_CONNECT_SECONDS


def _token(given: MilvusConnectParam, address: SplitResult) -> str:
    if given.token:
        return given.token
    if given.username:
        return f"{given.username}:{given.password}"
    _check_both(address.username, address.password)
    if not address.username:
        return ""
    return f"{unquote(address.username)}:{unquote(address.password or '')}"
