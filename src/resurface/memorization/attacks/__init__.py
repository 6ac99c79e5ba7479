"""Attacks: other prefixes, relearning, membership inference."""
