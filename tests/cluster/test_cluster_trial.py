"""The trial of a whole cluster, in small."""

from brokers import needs_broker

from tests.cluster_trial.__main__ import run, table
from tests.cluster_trial.trial import Options

pytestmark = needs_broker

SMALL = Options(
    nodes=12,
    crowds=1,
    pairs=6,
    kills=1,
    server_kills=1,
    probed=1,
    lines=1,
    calm=0.5,
    watched=2.0,
)
BY_THE_CLOCK = ("latency", "within", "served", "again")
"""How long something takes is for a machine that does nothing else."""


async def test_a_cluster_survives_its_broker_and_a_server() -> None:
    said: list[str] = []
    rows = await run(SMALL, ["pairs", "broker", "servers"], 0, said.append)
    assert len(rows) == 6, table(rows)
    failed = [
        row for row in rows if not row.holds and not any(word in row.name for word in BY_THE_CLOCK)
    ]
    assert not failed, "\n".join([table(failed), *said])
