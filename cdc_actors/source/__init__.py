"""Where changes come from: the write-ahead log and the catalog in etcd."""
