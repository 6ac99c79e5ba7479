"""Corpora ranked for a student before any training."""
