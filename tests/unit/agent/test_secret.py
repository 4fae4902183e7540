from typing import Any

from mutua.agent.agent import Agent
from mutua.agent.secret import SecretSource
from mutua.agent.workload import Workload


async def test_a_listener_hears_the_current_secret_and_every_later_one(
    issuer: Any, clock: Any, web: Workload
) -> None:
    secret = (await Agent(issuer, clock, lambda: 0.5).add(web)).current
    assert secret is not None
    source, early, late = SecretSource(), [], []

    source.listen(lambda _, version: early.append(version))
    source.publish(secret)
    source.listen(lambda _, version: late.append(version))
    source.publish(secret)

    assert (early, late) == ([1, 2], [1, 2])
