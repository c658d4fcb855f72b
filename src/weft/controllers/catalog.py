"""All controllers, for the composition root."""

from weft.controllers import (
    certificates,
    clusterroles,
    deployments,
    endpoints,
    endpointslices,
    gateway_accounts,
    gc,
    jobs,
    load_balancers,
    namespaces,
    nodes,
    podgc,
    replicasets,
    serviceaccounts,
    workload_entries,
)
from weft.runtime.controller import Controller


def controllers() -> tuple[Controller, ...]:
    """Every controller that runs. The scheduler is weft.scheduler.controller.CONTROLLER."""
    return (
        namespaces.CONTROLLER,
        serviceaccounts.CONTROLLER,
        gateway_accounts.CONTROLLER,
        certificates.CONTROLLER,
        clusterroles.CONTROLLER,
        deployments.CONTROLLER,
        replicasets.CONTROLLER,
        jobs.CONTROLLER,
        endpointslices.CONTROLLER,
        endpoints.CONTROLLER,
        load_balancers.CONTROLLER,
        workload_entries.CONTROLLER,
        gc.CONTROLLER,
        podgc.CONTROLLER,
        nodes.CONTROLLER,
        nodes.EVICTION,
    )
