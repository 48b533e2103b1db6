"""Kill -9 around each broker: nothing is lost, doubled or stranded, and what the log holds is published.

A few kills; hundreds of them are in `make torture`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import brokers
from tests.support.left_out import left_out
from tests.support.programs import Absent
from tests.torture.brokered import BrokeredCampaign

KILLS = {"rabbitmq": 3, "nats": 3, "redis": 2, "kafka": 2}
"""Each of those that can die does so once."""


@pytest.mark.parametrize("kind", brokers.KINDS)
def test_server_service_and_broker_killed_again_and_again_lose_and_double_nothing(kind: str, tmp_path: Path) -> None:
    """Each key is one saga with one answer and its records, and each event arrives, those of a saga in their order."""
    try:
        campaign = BrokeredCampaign(f"sqlite:///{tmp_path}/log.db", kind, seed=1)
    except Absent as absent:
        left_out(kind, str(absent))
    found = campaign.run(KILLS[kind])
    assert found.faults == []
    assert found.ends.total() > 5
