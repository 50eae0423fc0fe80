"""What one run brings to the target beside rows: from the catalog, and as clients asked."""
