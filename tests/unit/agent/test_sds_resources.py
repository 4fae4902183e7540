from typing import Any

from mutua.agent.agent import Agent
from mutua.agent.sds_resources import MESSAGE, SECRET, secret_resources
from mutua.agent.workload import Workload
from mutua.xds.proto import message


async def test_envoy_gets_key_and_chain_under_one_name_and_the_roots_under_another(
    issuer: Any, clock: Any, web: Workload
) -> None:
    source = await Agent(issuer, clock, lambda: 0.5).add(web)
    assert source.current is not None
    secret = source.current

    resources = secret_resources(secret)

    bodies = {
        name: message(MESSAGE).FromString(one.body) for name, one in resources[SECRET].items()
    }
    own, trust = bodies["default"].tls_certificate, bodies["ROOTCA"].validation_context
    assert (
        own.certificate_chain.inline_bytes.decode() == secret.issued.leaf + secret.issued.roots_pem
    )
    assert own.private_key.inline_bytes.decode() == secret.key.pem()
    assert trust.trusted_ca.inline_bytes.decode() == secret.issued.roots_pem


async def test_renewal_changes_the_certificates_version_and_not_the_roots(
    issuer: Any, clock: Any, web: Workload
) -> None:
    agent = Agent(issuer, clock, lambda: 0.5)
    first = (await agent.add(web)).current
    agent.remove(web.uid)
    second = (await agent.add(web)).current
    assert first is not None
    assert second is not None

    changes = secret_resources(second)[SECRET].changes(secret_resources(first)[SECRET])

    assert [one.name for one in changes.changed] == ["default"]
    assert changes.removed == ()


async def test_a_resource_shows_neither_key_nor_body(
    issuer: Any, clock: Any, web: Workload
) -> None:
    source = await Agent(issuer, clock, lambda: 0.5).add(web)
    assert source.current is not None

    shown = repr(dict(secret_resources(source.current)[SECRET]))

    assert "PRIVATE" not in shown
    assert "BEGIN" not in shown
