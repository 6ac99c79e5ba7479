"""A provenance block for results that tests write by hand."""

MADE = {
    "created": "2026-01-01T00:00:00+00:00",
    "code": {"commit": "x", "dirty": False},
    "machine": {
        "os": "Linux",
        "python": "3",
        "cpu": "c",
        "cores": 1,
        "memory_gib": None,
        "accelerator": None,
    },
    "packages": {},
}
