"""What weft says of itself: configuration on its way to proxies, and controllers' queues.

Names are Istio's (istio.io, "pilot-discovery", exported metrics) and those of Kubernetes' work
queues where they have some.
"""

from collections.abc import Iterator, Sequence

from weft.runtime.loop import ControllerLoop
from weft.xds.server import AdsServer


def page(ads: AdsServer, loops: Sequence[ControllerLoop]) -> str:
    return "".join(f"{line}\n" for line in (*_proxies(ads), *_queues(loops)))


def _proxies(ads: AdsServer) -> Iterator[str]:
    yield "# HELP pilot_proxy_convergence_time From a change until a proxy answered for all of it."
    yield "# TYPE pilot_proxy_convergence_time histogram"
    yield from ads.converged.lines("pilot_proxy_convergence_time")
    yield "# TYPE pilot_total_xds_rejects counter"
    yield f"pilot_total_xds_rejects {ads.rejects}"
    nodes = ads.nodes()
    yield "# HELP weft_proxy_connected Whether the proxy of a node is connected."
    yield "# TYPE weft_proxy_connected gauge"
    for node in nodes:
        yield f'weft_proxy_connected{{node="{node}"}} {int(ads.connected(node))}'
    yield "# HELP weft_proxy_acknowledged Whether it has answered for all that it shall have."
    yield "# TYPE weft_proxy_acknowledged gauge"
    for node in nodes:
        yield f'weft_proxy_acknowledged{{node="{node}"}} {int(ads.in_sync(node))}'
    yield "# HELP weft_proxy_refused_resources Resources that it refuses at present."
    yield "# TYPE weft_proxy_refused_resources gauge"
    for node in nodes:
        yield f'weft_proxy_refused_resources{{node="{node}"}} {len(ads.nacks(node))}'


def _queues(loops: Sequence[ControllerLoop]) -> Iterator[str]:
    yield "# HELP workqueue_depth Objects that a controller has yet to look at, or looks at now."
    yield "# TYPE workqueue_depth gauge"
    depths: dict[str, int] = {}
    for loop in loops:
        depths[loop.controller.name] = depths.get(loop.controller.name, 0) + loop.backlog
    for name, depth in sorted(depths.items()):
        yield f'workqueue_depth{{name="{name}"}} {depth}'
