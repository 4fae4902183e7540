"""A Kubernetes client that is not kubectl: lightkube, which `mutua kubectl` uses."""

from typing import Any

import pytest
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace

Cluster = Any  # the fixture's class lives in conftest, which tests cannot import


def test_lightkube_creates_lists_patches_watches_and_deletes(cluster: Cluster) -> None:
    client = Client(config=KubeConfig.from_file(cluster.kubeconfig))
    try:
        client.create(Namespace(metadata=ObjectMeta(name="shop")))
        made = client.create(
            ConfigMap(metadata=ObjectMeta(name="c", namespace="shop"), data={"a": "1"})
        )
        assert made.metadata is not None
        client.patch(ConfigMap, "c", {"data": {"b": "2"}}, namespace="shop")
        listed = list(client.list(ConfigMap, namespace="*", labels={}))
        assert [item.data for item in listed] == [{"a": "1", "b": "2"}]
        stream = client.watch(
            ConfigMap, namespace="shop", resource_version=made.metadata.resourceVersion
        )
        event, obj = next(iter(stream))
        assert (event, obj.data) == ("MODIFIED", {"a": "1", "b": "2"})
        made.data = {"stale": "yes"}
        with pytest.raises(ApiError) as refused:
            client.replace(made)
        assert refused.value.status.code == 409
        client.delete(ConfigMap, "c", namespace="shop")
        with pytest.raises(ApiError) as gone:
            client.get(ConfigMap, "c", namespace="shop")
        assert gone.value.status.reason == "NotFound"
    finally:
        client._client._client.close()
