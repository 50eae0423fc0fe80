"""The OpenAPI document: the committed one is true, and requests made of it are answered.

schemathesis makes requests of the document, right ones and wrong ones of every kind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cdc_actors.errors import UnknownTaskError
from cdc_http import Server, create_app
from tests.support.http_service import ALL, TARGET, Api, FakeService, entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cdc_actors.store.history import Page

COMMITTED = Path(__file__).parents[2] / "http" / "openapi.json"
ANSWER_SECONDS = 60
CHECKS = [
    not_a_server_error,
    allow_header_conformance,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
schema = schemathesis.openapi.from_dict(json.loads(COMMITTED.read_text()))


class Ending(FakeService):
    """A service whose streams end: a request for more events finds none."""

    def history(self, task_id: str, *, after: int, limit: int) -> Page:
        """Return the first events only."""
        if after:
            raise UnknownTaskError(f"not found: [{task_id}]")
        return super().history(task_id, after=after, limit=limit)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve some tasks and yield where."""
    service = Ending(events=[entry(1, "created"), entry(2)])
    server = Server(create_app(service), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.address[1]}"
    server.stop()


def test_the_committed_document_is_the_served_one():
    """Whoever changes the API sees it in this file: GET /openapi.json renews it."""
    served = Api().client.simulate_get("/openapi.json").json
    assert json.loads(COMMITTED.read_text()) == served


def test_every_answer_is_of_its_shape():
    """A task with all there is to it fits the document, which names every member."""
    api = Api(FakeService(events=[entry(1, "created")]))
    mapping = {"source_db": "d", "target_db": "e", "collection_mapping": {"a": "b"}}
    answer = api.create(
        collection_infos=ALL, db_collections={"d": ALL}, name_mapping=[mapping]
    )
    task_id = answer.json["data"]["task_id"]
    got = api.ask("get", {"task_id": task_id}).json["data"]["task"]
    document = api.client.simulate_get("/openapi.json").json
    known = document["components"]["schemas"]["Task"]["properties"]
    assert set(got) <= set(known)
    assert got["name_mapping"] == [mapping]
    assert got["milvus_connect_param"]["uri"] == TARGET["uri"]


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_any_request_is_answered_as_described(case, url):
    """No request of any kind is a 5xx or hangs, and each answer fits the document."""
    case.call_and_validate(base_url=url, timeout=ANSWER_SECONDS, checks=CHECKS)
