"""What kubectl's arguments mean."""

import pytest

from mutua.api.object import DEPLOYMENTS, PEER_AUTHENTICATIONS, PODS, SERVICES
from mutua.cli.kubectl.arguments import parse_targets
from mutua.foundation.errors import Rejected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pods"], [(PODS, ())]),
        (["po", "a", "b"], [(PODS, ("a", "b"))]),
        (["deploy/web"], [(DEPLOYMENTS, ("web",))]),
        (["Deployment.apps/web", "svc/web"], [(DEPLOYMENTS, ("web",)), (SERVICES, ("web",))]),
        (["pa", "-n"][:1], [(PEER_AUTHENTICATIONS, ())]),
        (["pods,svc"], [(PODS, ()), (SERVICES, ())]),
        (["peerauthentication.security.istio.io"], [(PEER_AUTHENTICATIONS, ())]),
    ],
)
def test_types_and_names(arguments, expected) -> None:
    assert [(t.kind.resource, t.names) for t in parse_targets(arguments)] == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "must specify"),
        (["gadgets"], 'doesn\'t have a resource type "gadgets"'),
        (["pod/a", "b"], "no need to specify"),
        (["all/web"], "category"),
    ],
)
def test_a_wrong_argument_says_what_is_wrong(arguments, complaint) -> None:
    with pytest.raises(Rejected, match=complaint):
        parse_targets(arguments)
