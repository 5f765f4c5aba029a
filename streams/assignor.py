"""Who owns which partitions: the work of all stages shared out evenly among the workers.

What lives here: the assignment that the leader of a stage's group makes. What does not: the group itself (the client)
and taking partitions over (``engine``). Campaigns has one partition, so a worker that carries it must carry less of the
rest. Every stage has a group of its own, and none knows what another has assigned; but all have the same members, so
each leader works out the shares of all stages in the same way and hands out its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


@dataclass(frozen=True, slots=True)
class Share:
    """What one stage reads, and how much of all work is its."""

    topic: str
    partitions: int
    weight: float

    @property
    def piece(self) -> float:
        """The work of one partition."""
        return self.weight / max(1, self.partitions)


def dealt(shares: Iterable[Share], slots: Sequence[str]) -> dict[tuple[str, int], str]:
    """The slot of each topic's partition: the largest pieces first, each to who has least, of equals to the first.

    So no slot has more than one piece above another's load, and the same shares and slots give the same answer.
    """
    loads = dict.fromkeys(sorted(slots), 0.0)
    owners = {}
    for share in sorted(shares, key=lambda share: (-share.piece, share.topic)):
        for partition in range(share.partitions):
            slot = min(loads, key=loads.__getitem__)
            # Sums of the same pieces in another order must be equal, or chance decides who is the first of equals.
            loads[slot] = round(loads[slot] + share.piece, 9)
            owners[share.topic, partition] = slot
    return owners


class Assignor(RoundRobinPartitionAssignor):  # type: ignore[misc]
    """Hands out a stage's partitions by ``dealt``.

    It keeps the name of the client's default, so that workers with and without it can be in one group while a new
    version is rolled out: whoever leads decides, and the others need only know the name.
    """

    def __init__(self, shares: Sequence[Share], slot: str) -> None:
        self._shares = shares
        self._slot = slot

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What a member tells the leader: its topics, and its slot, which outlives a restart as its id does not."""
        return ConsumerProtocolMemberMetadata(self.version, list(topics), self._slot.encode())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The partitions of every member, by its id."""
        by_slot = {
            (known.user_data or b"").decode("utf-8", "replace") or member: member for member, known in members.items()
        }
        topics = {topic for known in members.values() for topic in known.subscription}
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        shares = [share for share in self._shares if share.topic not in counts]
        weights = {share.topic: share.weight for share in self._shares}
        shares += [Share(topic, count, weights.get(topic, 1.0)) for topic, count in counts.items()]
        found: dict[str, dict[str, list[int]]] = {member: {} for member in members}
        for (topic, partition), slot in dealt(shares, list(by_slot)).items():
            if topic in counts:
                found[by_slot[slot]].setdefault(topic, []).append(partition)
        return {
            member: ConsumerProtocolMemberAssignment(self.version, sorted(given.items()), b"")
            for member, given in found.items()
        }
