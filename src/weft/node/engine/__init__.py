"""Containers that a container engine (Docker, Podman) runs, over its REST API.

Takes: specs with an `EngineContainer`. Gives: containers in the pod's own network, found again
after a restart of weft or of the engine.
Never: process images or the node's own programs, which stay with the pod host.
"""
