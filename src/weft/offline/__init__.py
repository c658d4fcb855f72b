"""What manifests would mean, without an instance.

Takes: checked documents. Gives: the objects that would follow from them (pods, endpoints,
addresses), the Envoy configuration of a node, and what differs between two of them. Never: reads
files, asks a server, or starts anything.
"""
