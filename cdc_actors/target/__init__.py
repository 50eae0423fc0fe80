"""Where changes go: a Milvus, through pymilvus."""
