"""One step of the pod machine in progress: the state so far, the actions so far. Pure."""

from typing import Any

from msgspec.structs import replace

from weft.api.k8s.container_v1 import Container
from weft.node.pod_state import Action, ContainerRecord, PodState, instance_id, spec_of


class Turn:
    """Lives within one call of `step`; the states it passes through are frozen."""

    def __init__(self, state: PodState, now: float) -> None:
        self.state = state
        self.now = now
        self.actions: list[Action] = []

    def do(self, *actions: Action) -> None:
        """Append actions, in order."""
        self.actions.extend(actions)

    def set(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = replace(self.state, **changes)

    def set_sandbox(self, **changes: Any) -> None:
        self.set(sandbox=replace(self.state.sandbox, **changes))

    def set_container(self, name: str, **changes: Any) -> None:
        """Change fields of one container's record."""
        self.set(
            containers=tuple(
                replace(c, **changes) if c.name == name else c for c in self.state.containers
            )
        )

    def container(self, name: str) -> ContainerRecord:
        """The record of a container known to exist."""
        return next(c for c in self.state.containers if c.name == name)

    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.state.containers)

    def by_id(self, container_id: str) -> ContainerRecord | None:
        """The record whose current instance this is; None for an older instance."""
        return next((c for c in self.state.containers if self.id_of(c) == container_id), None)

    def id_of(self, record: ContainerRecord) -> str:
        return instance_id(self.state.uid, record.name, record.restarts)

    def spec(self, name: str) -> Container:
        return spec_of(self.state.pod, name) or Container(name=name)
