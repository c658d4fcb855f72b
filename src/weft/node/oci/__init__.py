"""Container images: names, documents, layers, registries, and what a runtime is told of them.

Takes: archives, layouts, registries. Gives: layers on disk and a configuration after the OCI
runtime specification. Never: starts anything (`node.podhost` does).
"""
