"""weft: a service mesh and an orchestrator in one `pip install`."""

__version__ = "0.1.0"
