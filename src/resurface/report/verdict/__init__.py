"""A verdict on disk: sentences, tables and figures."""
