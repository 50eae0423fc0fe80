"""What must happen to changes: order, fold, barriers, progress. Pure."""
