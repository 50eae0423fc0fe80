"""Milvus's natsmq: NATS JetStream."""
