"""A source x student matrix: its design, its run, and what it shows."""
