"""Before and after treatment: paired windows, seeds, every metric, every attack."""
