"""Streaming nodes of Milvus 2.6 and later, whichever queue they keep the log in."""
