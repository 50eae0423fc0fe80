"""Who may use the API, as the settings say it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from cdc_actors.config.setting_types import Flag, Section, Text

Role = Literal["viewer", "operator"]
"""A viewer sees everything and changes nothing; an operator may do both."""

# \Z, not $: a line break at the end is no part of a name.
TokenName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
TokenHash = Annotated[
    str,
    Meta(pattern=r"^scrypt:[0-9a-f]{32}:[0-9a-f]{64}\Z", extra={"secret": True}),
]


class Token(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API token; ``hash`` is salted and does not tell what the token is."""

    name: TokenName
    role: Role
    hash: TokenHash


Tokens = Annotated[
    tuple[Token, ...],
    Meta(
        description="a list of {name, role, hash}, each as `cdc-actors token create` "
        "prints it, with the role viewer or operator; in the environment as JSON",
        extra={"named": True},
    ),
]


class Auth(Section, frozen=True, kw_only=True):
    """The tokens of which a request must have one; without any it needs none."""

    tokens: Tokens = ()
    allow_anonymous: Flag = False


class Tls(Section, frozen=True, kw_only=True):
    """The certificate chain of the API and its key: files in PEM.

    The certificates of other services on the store are trusted by those in ``ca_path``,
    or by the system's.
    """

    cert_path: Text = ""
    key_path: Text = ""
    ca_path: Text = ""
