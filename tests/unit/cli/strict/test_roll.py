"""Writing a policy, and putting it back, while others write it."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status

from mutua.cli.strict.roll import ATTEMPTS, GRACE, Roll
from mutua.controlplane.strict.change import Scope, on_probation, passed, probation_of
from mutua.foundation.errors import Unavailable
from mutua.testing.mesh import peer_authentication


class Busy:
    """An API in which somebody else is faster, so many times."""

    def __init__(
        self, obj: Any, losses: int, other: Callable[[Any], None] = lambda _obj: None
    ) -> None:
        self.obj, self.losses, self.other, self.tries = obj, losses, other, 0
        self.obj["metadata"]["resourceVersion"] = "0"

    def get(self, _kind: Any, _name: str, **_where: str) -> Any:
        return deepcopy(self.obj)

    def replace(self, obj: Any, _name: str, **_where: str) -> Any:
        self.tries += 1
        if self.tries <= self.losses:
            self.obj["metadata"]["resourceVersion"] = str(self.tries)
            self.other(self.obj)
        if obj["metadata"]["resourceVersion"] != self.obj["metadata"]["resourceVersion"]:
            raise conflict()
        self.obj = dict(obj)
        return deepcopy(self.obj)


def conflict() -> ApiError:
    return ApiError(status=Status(code=409, reason="Conflict", message="modified"))


def on_trial() -> Any:
    before = peer_authentication("shop", "PERMISSIVE")
    before["metadata"]["uid"] = "1"
    strict = peer_authentication("shop", "STRICT")
    strict["metadata"]["uid"] = "1"
    return on_probation(strict, before, watch=10.0, known_only=False)


def test_a_policy_is_put_back_although_its_status_is_written_meanwhile() -> None:
    api = Busy(on_trial(), losses=ATTEMPTS - 1)

    Roll(api, watch=10.0).undo(api.obj)

    assert api.obj["spec"] == {"mtls": {"mode": "PERMISSIVE"}}
    assert probation_of(api.obj) is None


def permissive() -> Any:
    before = peer_authentication("shop", "PERMISSIVE")
    before["metadata"] |= {"uid": "1", "resourceVersion": "0"}
    return before


def test_a_policy_becomes_strict_although_its_status_is_written_meanwhile() -> None:
    api = Busy(permissive(), losses=ATTEMPTS - 1)

    with pytest.raises(Unavailable, match="did not say"):
        Roll(api, watch=-GRACE).run(Scope(namespace="shop"), "shop", [permissive()])
    assert api.obj["spec"] == {"mtls": {"mode": "STRICT"}}
    assert probation_of(api.obj) is not None


def test_what_somebody_says_meanwhile_is_not_overwritten() -> None:
    def say(obj: Any) -> None:
        obj["spec"] = {"mtls": {"mode": "DISABLE"}}

    api = Busy(permissive(), losses=1, other=say)

    with pytest.raises(ApiError):
        Roll(api, watch=-GRACE).run(Scope(namespace="shop"), "shop", [permissive()])
    assert api.obj["spec"] == {"mtls": {"mode": "DISABLE"}}


def test_a_policy_whose_probation_ends_meanwhile_is_not_put_back() -> None:
    def hold(obj: Any) -> None:
        obj.update(passed(obj, "now: watched"))

    api = Busy(on_trial(), losses=1, other=hold)

    Roll(api, watch=10.0).undo(api.obj)
    assert api.obj["spec"] == {"mtls": {"mode": "STRICT"}}
    assert api.tries == 1


def test_who_loses_every_time_gives_up_and_says_so() -> None:
    api = Busy(on_trial(), losses=2 * ATTEMPTS)

    with pytest.raises(ApiError):
        Roll(api, watch=10.0).undo(api.obj)
    assert api.tries == 2 * ATTEMPTS
