"""What client-go and controller-runtime are to Kubernetes: clients, informers, queue, loop.

Takes: an API (in process or HTTP). Gives: caches, snapshots, executed plans.
Never: decides; decisions are `plan` functions of controllers.
"""
