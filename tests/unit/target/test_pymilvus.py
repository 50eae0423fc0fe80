"""What is used of pymilvus that is not its public API."""

from __future__ import annotations

from importlib.metadata import version

from pymilvus.client.grpc_handler import GrpcHandler

USED = ("_stub", "_final_channel", "_wait_for_channel_ready")


def test_private_attributes_of_the_handler_exist() -> None:
    """``Connection`` sends its requests past pymilvus's public API, through these."""
    handler = GrpcHandler(address="127.0.0.1:1")
    try:
        missing = [name for name in USED if not hasattr(handler, name)]
    finally:
        handler.close()
    assert missing == [], (
        f"pymilvus {version('pymilvus')} has no GrpcHandler.{', '.join(missing)}, which "
        "cdc_actors/target/connection.py needs: adapt it, or keep pyproject.toml to a "
        "minor version of pymilvus that has it"
    )
