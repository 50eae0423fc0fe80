"""The source's metadata, as it stands in its etcd."""
