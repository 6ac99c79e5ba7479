"""Texts from outside: documents, rows of token ids, the hub, n-grams."""
