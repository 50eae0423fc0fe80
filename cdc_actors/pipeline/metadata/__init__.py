"""What one run brings to the target besides rows: from the catalog, and from clients."""
