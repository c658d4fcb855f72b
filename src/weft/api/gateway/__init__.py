"""Gateway API resources (group gateway.networking.k8s.io), after its public API reference.

Read them from `weft.api.gateway.v1`. Defaults of the structs are the defaults of the API, so that
a manifest read offline means what it means on the server.
"""
