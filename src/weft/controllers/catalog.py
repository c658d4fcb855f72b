"""All controllers, for the composition root."""

from weft.controllers import (
    certificates,
    clusterroles,
    cronjobs,
    daemonsets,
    deployments,
    disruption,
    endpoints,
    endpointslices,
    gateway_accounts,
    gc,
    jobs,
    load_balancers,
    namespaces,
    nodes,
    podcidrs,
    podgc,
    replicasets,
    serviceaccounts,
    statefulsets,
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
        replicasets.REPLICATION_CONTROLLER,
        statefulsets.CONTROLLER,
        daemonsets.CONTROLLER,
        jobs.CONTROLLER,
        cronjobs.CONTROLLER,
        disruption.CONTROLLER,
        endpointslices.CONTROLLER,
        endpoints.CONTROLLER,
        load_balancers.CONTROLLER,
        workload_entries.CONTROLLER,
        gc.CONTROLLER,
        podgc.CONTROLLER,
        nodes.CONTROLLER,
        nodes.EVICTION,
        nodes.UNREADY,
        podcidrs.CONTROLLER,
    )
