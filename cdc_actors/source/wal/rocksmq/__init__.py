"""Milvus's RocksMQ: a RocksDB on the source's own disk."""
