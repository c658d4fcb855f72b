"""`weft simulate`: the scheduler on a cluster that does not exist."""

import click

from weft.cli import output

EXAMPLES = """\b
Examples:
  weft simulate --nodes 5000 --pods 50000
  weft simulate --nodes 5000 --pods 5000 --shape anti-affinity
  weft simulate --nodes 30 --pods 1000 --node-cpu 8 --pod-cpu 500m -o json
"""
SHAPES = (
    "basic", "affinity", "anti-affinity", "spread", "spread-hosts", "preferred", "node-affinity",
)  # fmt: skip


@click.command(epilog=EXAMPLES)
@click.option("--nodes", default=5000, show_default=True, help="How many nodes.")
@click.option("--zones", default=3, show_default=True, help="Zones that they are in.")
@click.option("--pods", default=50000, show_default=True, help="How many pods wait.")
@click.option("--shape", type=click.Choice(SHAPES), default="basic", show_default=True,
              help="What the pods ask for besides cpu and memory.")  # fmt: skip
@click.option("--node-cpu", default="4", show_default=True, help="CPU of a node.")
@click.option("--node-memory", default="32Gi", show_default=True, help="Memory of a node.")
@click.option("--pod-cpu", default="100m", show_default=True, help="CPU request of a pod.")
@click.option("--pod-memory", default="500Mi", show_default=True, help="Memory request of a pod.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "table", "json", "yaml"]),
              default="text", show_default=True, help="How to print.")  # fmt: skip
def simulate(
    nodes: int,
    zones: int,
    pods: int,
    shape: str,
    node_cpu: str,
    node_memory: str,
    pod_cpu: str,
    pod_memory: str,
    form: str,
) -> None:
    """Place pods on nodes that are made up, with the scheduler that `weft up` runs.

    Nothing runs and nothing is asked. Says how many pods find a node, how they are spread, why the
    others wait, and how many pods a second of processor time places.
    """
    import time  # noqa: PLC0415 - only here

    import msgspec  # noqa: PLC0415 - slow to import

    from weft.api.snapshot import ObjectSnapshot  # noqa: PLC0415
    from weft.offline import simulation  # noqa: PLC0415
    from weft.scheduler.cycle import schedule  # noqa: PLC0415

    if min(nodes, zones) < 1 or pods < 0:
        output.fail("--nodes and --zones need at least 1, --pods at least 0", code=2)
    made = simulation.nodes(nodes, zones, node_cpu, node_memory)
    waiting = simulation.pods(pods, shape, pod_cpu, pod_memory)  # type: ignore[arg-type]
    snapshot = ObjectSnapshot([*made, *waiting])
    began = time.process_time()
    plan = schedule(snapshot, 0.0)
    seconds = time.process_time() - began
    found = simulation.outcome(plan, made, len(waiting))
    rate = len(waiting) / seconds if seconds else 0.0
    if form not in ("text", "table"):
        body = msgspec.to_builtins(found) | {"cpuSeconds": seconds, "podsPerCpuSecond": rate}
        output.structured(body, form)
        return
    click.echo(f"{found.bound} of {pods} pods on {nodes} nodes")
    click.echo(f"  {seconds:.2f} s of processor time, {rate:,.0f} pods per second")
    spread = ", ".join(f"{zone} {count}" for zone, count in found.per_zone.items())
    click.echo(f"  zones: {spread}; nodes: {found.emptiest} to {found.fullest} pods")
    for reason, count in sorted(found.reasons.items(), key=lambda pair: -pair[1]):
        click.echo(f"  {count} wait: {reason}")
