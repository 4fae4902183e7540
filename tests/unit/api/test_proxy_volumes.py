# ruff: noqa: E501 - a table
import json
from typing import Any

import pytest

from mutua.api.proxy_volumes import MOUNTS, VOLUMES, ProxyVolumes, proxy_volumes

SECRET = {"name": "client", "secret": {"secretName": "shop-client"}}
MOUNT = {"name": "client", "mountPath": "/etc/client", "readOnly": True}


def test_nothing_is_asked_for() -> None:
    assert proxy_volumes({}) == ProxyVolumes()


@pytest.mark.parametrize("value", [[SECRET], {"client": {"secret": {"secretName": "shop-client"}}}])
def test_a_secret_as_a_list_or_by_name(value: Any) -> None:
    assert proxy_volumes({VOLUMES: json.dumps(value)}).volumes == (SECRET,)


def test_a_mount_is_read_only_whatever_is_asked() -> None:
    for asked in ({}, {"readOnly": False}, {"readonly": True}):
        mount = {"name": "client", "mountPath": "/etc/client", **asked}

        assert proxy_volumes({MOUNTS: json.dumps([mount])}).mounts == (MOUNT,)


@pytest.mark.parametrize(("name", "value", "words"), [
    (VOLUMES, "{",                                                       "must be JSON"),
    (VOLUMES, "[" * 100_000,                                             "must be JSON"),
    (VOLUMES, '"client"',                                                "must be a list of objects"),
    (VOLUMES, '[{"secret": {"secretName": "a"}}]',                       "needs a name"),
    (VOLUMES, '[{"name": "a"}]',                                         "one source"),
    (VOLUMES, '[{"name": "a", "emptyDir": {}}]',                         "one source"),
    (VOLUMES, '[{"name": "a", "hostPath": {"path": "/"}}]',              "one source"),
    (VOLUMES, '[{"name": "a", "secret": {}, "configMap": {}}]',          "one source"),
    (VOLUMES, '[{"name": "a", "secret": "b"}]',                          "must be an object"),
    (MOUNTS,  '[{"name": "a"}]',                                         "below /etc/"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc"}]',                    "below /etc/"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/usr/bin"}]',                "below /etc/"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc/../usr"}]',             "below /etc/"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc//certs"}]',             "below /etc/"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc/certs"}]',              "the proxy's own files"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc/certs/more"}]',         "the proxy's own files"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc/istio"}]',              "the proxy's own files"),
    (MOUNTS,  '[{"name": "a", "mountPath": "/etc/a", "subPath": "b"}]',  "subPath not supported"),
])  # fmt: skip
def test_what_a_proxy_that_holds_a_key_must_not_be_given(name: str, value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        proxy_volumes({name: value})
