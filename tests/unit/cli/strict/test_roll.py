"""Putting a policy back while others write it."""

from typing import Any

import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import Status

from mutua.cli.strict.roll import ATTEMPTS, Roll
from mutua.controlplane.strict.change import on_probation, probation_of
from mutua.testing.mesh import peer_authentication


class Busy:
    """An API in which somebody else is faster, so many times."""

    def __init__(self, obj: Any, losses: int) -> None:
        self.obj, self.losses, self.tries = obj, losses, 0

    def get(self, _kind: Any, _name: str, **_where: str) -> Any:
        return self.obj

    def replace(self, obj: Any, _name: str, **_where: str) -> Any:
        self.tries += 1
        if self.tries <= self.losses:
            raise conflict()
        self.obj = dict(obj)
        return self.obj


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


def test_who_loses_every_time_gives_up_and_says_so() -> None:
    api = Busy(on_trial(), losses=ATTEMPTS)

    with pytest.raises(ApiError):
        Roll(api, watch=10.0).undo(api.obj)
    assert api.tries == ATTEMPTS
