"""What the folder of a test says of it."""

WITHOUT_SERVERS = ("tests/unit", "tests/property")
"""Those whose tests need no Milvus and no broker."""
