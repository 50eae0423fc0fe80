"""cdc-actors: keeps one Milvus equal to another by reading the source's write-ahead log."""
