"""Who may do what over the API: tokens, roles, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cdc_actors.config.auth import Token
from cdc_actors.service.views import Readiness
from cdc_http.tokens import TokenRing, new_token
from tests.support.http_service import Api, FakeService, entry, error_of

ID = "0" * 32
EVENTS = f"/cdc/tasks/{ID}/events"
OPS, OPS_HASH = new_token("ops")
EYE, EYE_HASH = new_token("eye")
TOKENS = (
    Token(name="ops", role="operator", hash=OPS_HASH),
    Token(name="eye", role="viewer", hash=EYE_HASH),
)
RING = TokenRing(TOKENS)
READING = ["get", "history", "lag_samples", "list", "overview", "position"]
PAGE_FILES = ["/", "/page/page.css", "/page/main.js"]
OWN_PAGES = ["localhost:8444", "127.0.0.1:8444", "[::1]:8444", "192.0.2.7", "LocalHost"]
STRANGERS = {
    "another port": ("http://localhost:8445", "localhost:8444"),
    "another scheme, as behind a TLS proxy": ("https://192.0.2.7", "192.0.2.7"),
    "another name": ("http://127.0.0.1:8444", "localhost:8444"),
    "a name that its owner points here": ("http://evil.test", "evil.test"),
    "a name that only looks like ours": ("http://localhost.evil.test",) * 2,
    "a name with our address in it": (
        "http://127.0.0.1.evil.test",
        "127.0.0.1.evil.test",
    ),
    "a sandboxed frame or a file": ("null", "localhost:8444"),
    "no origin at all": ("", "localhost:8444"),
    "no host": ("http://", ""),
    "a host that is none": ("http://[::1", "[::1"),
}
CHANGING = [
    "acknowledge",
    "create",
    "delete",
    "maintenance",
    "pause",
    "resume",
    "resync",
    "retry",
]
SECRET = OPS.partition(".")[2]
WRONG = {
    "nothing": "",
    "another scheme": f"Basic {OPS}",
    "no scheme": OPS,
    "no token": "Bearer",
    "no name": f"Bearer {SECRET}",
    "another name": f"Bearer eye.{SECRET}",
    "an unknown name": f"Bearer root.{SECRET}",
    "too short": f"Bearer {OPS[:-1]}",
    "too long": f"Bearer {OPS}x",
    "the hash": f"Bearer {OPS_HASH}",
    "no ASCII": "Bearer ops.\xfc\xff",
}


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def api():
    """Return the app over a service with one task, asking for tokens."""
    api = Api(FakeService(events=[entry(1, "created")]), tokens=TOKENS)
    assert api.create(task_id=ID).status_code == 401
    Api(api.service).create(task_id=ID)
    api.service.asked.clear()
    return api


def ask(api: Api, kind: str, token: str):
    """Send a request about the task."""
    without = {"list", "create", "maintenance", "overview", "lag_samples"}
    data = {} if kind in without else {"task_id": ID}
    return api.ask(kind, data, headers=bearer(token))


@pytest.mark.parametrize("kind", READING)
@pytest.mark.parametrize("token", [OPS, EYE], ids=["operator", "viewer"])
def test_everybody_with_a_token_reads(api, kind, token):
    """Both roles see tasks and their history."""
    assert ask(api, kind, token).status_code == 200
    assert api.client.simulate_get(EVENTS, headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("kind", CHANGING)
def test_a_viewer_changes_nothing(api, kind):
    """What a viewer may not do is 403, says which role is needed, and is not done."""
    message = error_of(ask(api, kind, EYE), 403)
    assert message == (
        f"the token eye has the role viewer, and the {kind} request needs the role "
        "operator"
    )
    assert api.service.asked == []


@pytest.mark.parametrize("kind", ["pause", "delete"])
def test_an_operator_does_and_is_known_by_name(api, kind):
    """The service is told which token asked."""
    assert ask(api, kind, OPS).status_code == 200
    who = api.service.asked[-1][2]
    assert (who.kind, who.token_name, who.address) == ("client", "ops", "127.0.0.1")


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG)
def test_without_a_right_token_nothing_is_answered(api, header):
    """A missing or wrong token is 401, and neither answer nor log repeats it."""
    headers = {"Authorization": header} if header else {}
    with capture_logs() as logs:
        answers = [
            api.ask("list", headers=headers),
            api.send(b"no JSON", headers=headers),
            api.client.simulate_get(EVENTS, headers=headers),
        ]
    for answer in answers:
        assert "Authorization: Bearer TOKEN" in error_of(answer, 401)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert SECRET not in answer.text
    assert [log["address"] for log in logs] == ["127.0.0.1"] * 3
    assert SECRET not in str(logs)
    assert api.service.asked == []


def test_the_scheme_is_taken_in_any_case(api):
    """HTTP's schemes have no case."""
    headers = {"Authorization": f"bearer  {EYE}"}
    assert api.ask("list", headers=headers).status_code == 200


def test_health_is_told_without_a_token_and_details_with_one(api):
    """Probes have no tokens; what is missing, with its addresses, is for those who do."""
    missing = {"source": "connection to 192.0.2.1 refused"}
    tasks = {"degraded": 1}
    api.service.ready = Readiness(ready=False, missing=missing, tasks=tasks)
    get = api.client.simulate_get
    assert get("/livez").status_code == get("/openapi.json").status_code == 200
    assert get("/readyz").json == {"ready": False}
    told = get("/readyz", headers=bearer(EYE)).json
    assert told == {"ready": False, "missing": missing, "tasks": tasks}
    error_of(get("/readyz", headers=bearer("x")), 401)


def test_without_tokens_everybody_is_an_operator():
    """Where no tokens are set none is asked for, and one that is sent does no harm."""
    api = Api()
    assert api.create(task_id=ID).status_code == 200
    assert ask(api, "delete", OPS).status_code == 200
    assert [
        each[i].token_name for each, i in zip(api.service.asked, (3, 2), strict=True)
    ] == [None, None]


def test_tokens_differ_and_so_do_hashes():
    """Nothing is the same for two tokens of one name but the name."""
    (one, one_hash), (two, two_hash) = new_token("a"), new_token("a")
    assert one != two
    assert one_hash.split(":")[1] != two_hash.split(":")[1]
    ring = TokenRing([Token(name="a", role="viewer", hash=one_hash)])
    assert ring.find(one) == ring.find(one)
    assert ring.find(two) is None


def test_a_right_token_is_hashed_once(monkeypatch):
    """Once known a token costs a digest, and a wrong one is still found out."""
    ring = TokenRing(TOKENS)
    assert ring.find(OPS) == TOKENS[0]

    def slow(*_args, **_more):
        raise AssertionError

    monkeypatch.setattr("cdc_http.tokens.scrypt", slow)
    assert ring.find(OPS) == TOKENS[0]
    assert ring.find("root.x") is None
    with pytest.raises(AssertionError):
        ring.find(f"{OPS}x")


@given(st.text())
def test_no_text_is_a_token_by_chance(text):
    """Any text is answered, and is no token."""
    assert RING.find(text) is None


def test_web_pages_need_a_token():
    """A page in a browser cannot use that nobody needs a token on this machine."""
    page = {"Origin": "https://example.org"}
    api = Api()
    message = error_of(api.ask("list", headers=page), 403)
    assert message.startswith("requests of web pages (https://example.org) are refused")
    assert api.service.asked == []
    assert api.ask("list").status_code == 200
    error_of(api.client.simulate_get("/cdc/caller", headers=page), 403)
    guarded = Api(tokens=TOKENS)
    assert guarded.ask("list", headers=page | bearer(OPS)).status_code == 200


@pytest.mark.parametrize("host", OWN_PAGES)
def test_our_own_page_needs_no_token_where_nobody_does(host):
    """Its requests come from where they go to, at a name that leads nowhere else."""
    api = Api()
    headers = {"Origin": f"http://{host}".lower(), "Host": host}
    assert api.ask("list", headers=headers).status_code == 200
    assert api.client.simulate_get("/cdc/caller", headers=headers).json["data"] == {
        "role": "operator",
        "token_name": None,
    }


def test_our_own_page_over_tls():
    """Where this server speaks TLS, its page is one of https."""
    secure = {"protocol": "https", "headers": {"Host": "localhost:8444"}}
    secure["headers"]["Origin"] = "https://localhost:8444"
    assert Api().ask("list", **secure).status_code == 200
    secure["headers"]["Origin"] = "http://localhost:8444"
    error_of(Api().ask("list", **secure), 403)


@pytest.mark.parametrize(("origin", "host"), STRANGERS.values(), ids=STRANGERS)
def test_pages_that_only_seem_to_be_ours_are_refused(origin, host):
    """Nothing is asked of the service for them, by no header that they can send."""
    api = Api()
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "Forwarded": ""}
    for headers in ({}, forged):
        sent = {"Origin": origin, "Host": host.removeprefix("http://")} | headers
        error_of(api.ask("pause", {"task_id": ID}, headers=sent), 403)
    assert api.service.asked == []


@pytest.mark.parametrize("path", PAGE_FILES)
def test_the_pages_files_need_no_token(path):
    """They hold nothing, and bring nothing from elsewhere. Chromium sends an Origin."""
    headers = {"Origin": "http://cdc.test", "Host": "cdc.test"}
    assert Api().client.simulate_get(path, headers=headers).status_code == 200
    answer = Api(tokens=TOKENS).client.simulate_get(path)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing", "..%2fapp.py", "%2e%2e", "__init__.py"])
def test_the_page_serves_its_files_only(name):
    """No name leads out of its folder."""
    error_of(Api().client.simulate_get(f"/page/{name}"), 404)


@pytest.mark.parametrize(
    ("token", "caller"),
    [
        (OPS, {"role": "operator", "token_name": "ops"}),
        (EYE, {"role": "viewer", "token_name": "eye"}),
    ],
    ids=["operator", "viewer"],
)
def test_a_caller_can_ask_who_it_is(token, caller):
    """The page shows a viewer no buttons."""
    api = Api(tokens=TOKENS)
    answer = api.client.simulate_get("/cdc/caller", headers=bearer(token))
    assert answer.json == {"code": 200, "data": caller}
    error_of(api.client.simulate_get("/cdc/caller"), 401)
