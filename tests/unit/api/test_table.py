# ruff: noqa: E501 - tables read better in one line per row
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mutua.api.age import age, human_duration
from mutua.api.kinds import KINDS, kind_of
from mutua.api.object import (
    AUTHORIZATION_POLICIES,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    EVENTS,
    NODES,
    PEER_AUTHENTICATIONS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ENTRIES,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from mutua.api.table import table

NOW = datetime(2026, 1, 2, tzinfo=UTC)
YESTERDAY = "2026-01-01T00:00:00Z"


def printed(resource: Resource, obj: dict[str, Any], *, wide: bool = False) -> dict[str, Any]:
    """Return what kubectl get shows of one object: column to cell."""
    made = table(kind_of(resource), [obj], NOW)
    columns = made["columnDefinitions"]
    cells = zip(columns, made["rows"][0]["cells"], strict=True)
    return {column["name"]: cell for column, cell in cells if wide or column["priority"] == 0}


# fmt: off
AGES = [
    (-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (599, "9m59s"), (600, "10m"),
    (10799, "179m"), (10800, "3h"), (11100, "3h5m"), (28800, "8h"), (172799, "47h"), (172800, "2d"),
    (176400, "2d1h"), (691200, "8d"), (63071999, "729d"), (63072000, "2y"), (66000000, "2y33d"),
    (252288000, "8y"),
]
# fmt: on


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_durations_read_as_in_kubectl(seconds: int, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize("instant", [None, "", "yesterday", 5, "2026-01-01"])
def test_an_unknown_instant_has_an_unknown_age(instant: Any) -> None:
    assert age(instant, NOW) == "<unknown>"


@pytest.mark.parametrize(
    ("resource", "spec", "shown"),
    [
        (PEER_AUTHENTICATIONS, {"mtls": {"mode": "STRICT"}}, ("Mode", "STRICT")),
        (PEER_AUTHENTICATIONS, {}, ("Mode", "")),
        (AUTHORIZATION_POLICIES, {"action": "DENY"}, ("Action", "DENY")),
        (DESTINATION_RULES, {"host": "web"}, ("Host", "web")),
    ],
)
def test_policies(resource: Resource, spec: dict[str, Any], shown: tuple[str, str]) -> None:
    obj = {"metadata": {"name": "x", "creationTimestamp": YESTERDAY}, "spec": spec}

    assert printed(resource, obj) == {"Name": "x", shown[0]: shown[1], "Age": "24h"}


def container_status(**state: Any) -> dict[str, Any]:
    return {"name": "c", "ready": "running" in state, "restartCount": 0, "state": state}


def pod(*statuses: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "creationTimestamp": YESTERDAY},
        "spec": {"containers": [{}] * max(len(statuses), 1)},
        "status": {"containerStatuses": list(statuses), **status},
    }


RUNNING = {"running": {"startedAt": YESTERDAY}}

# fmt: off
PODS_SHOWN = [
    #  statuses                                                        phase        READY  STATUS
    ([],                                                               "Pending",   "0/1", "Pending"),
    ([RUNNING],                                                        "Running",   "1/1", "Running"),
    ([RUNNING, {"waiting": {"reason": "ContainerCreating"}}],          "Pending",   "1/2", "ContainerCreating"),
    ([{"waiting": {"reason": "CrashLoopBackOff"}}],                    "Running",   "0/1", "CrashLoopBackOff"),
    ([{"waiting": {"reason": "ErrImagePull"}}],                        "Pending",   "0/1", "ErrImagePull"),
    ([{"terminated": {"exitCode": 0, "reason": "Completed"}}],         "Succeeded", "0/1", "Completed"),
    ([{"terminated": {"exitCode": 1, "reason": "Error"}}],             "Failed",    "0/1", "Error"),
    ([{"terminated": {"exitCode": 3}}],                                "Failed",    "0/1", "ExitCode:3"),
    ([{"terminated": {"exitCode": 137, "signal": 9}}],                 "Failed",    "0/1", "Signal:9"),
    ([{"terminated": {"reason": "Completed", "exitCode": 0}}, RUNNING], "Running",  "1/2", "NotReady"),
]
# fmt: on


@pytest.mark.parametrize(("states", "phase", "ready", "status"), PODS_SHOWN)
def test_pods(states: list[dict[str, Any]], phase: str, ready: str, status: str) -> None:
    shown = printed(PODS, pod(*[container_status(**state) for state in states], phase=phase))

    assert (shown["Ready"], shown["Status"]) == (ready, status)


def test_a_pod_being_deleted_is_terminating() -> None:
    obj = pod(container_status(**RUNNING), phase="Running")
    obj["metadata"]["deletionTimestamp"] = YESTERDAY

    assert printed(PODS, obj)["Status"] == "Terminating"


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ({"terminated": {"exitCode": 0}}, "Init:1/2"),
        ({"running": {}}, "Init:0/2"),
        ({"waiting": {"reason": "PodInitializing"}}, "Init:0/2"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "Init:CrashLoopBackOff"),
        ({"terminated": {"exitCode": 1, "reason": "Error"}}, "Init:Error"),
    ],
)
def test_init_containers_are_counted(first: dict[str, Any], text: str) -> None:
    waiting = container_status(waiting={"reason": "PodInitializing"})
    obj = pod(waiting, phase="Pending")
    obj["spec"]["initContainers"] = [{}, {}]
    obj["status"]["initContainerStatuses"] = [container_status(**first), waiting]

    assert printed(PODS, obj)["Status"] == text


def test_restarts_tell_when_the_last_one_was() -> None:
    status = container_status(**RUNNING)
    status |= {"restartCount": 2, "lastState": {"terminated": {"finishedAt": YESTERDAY}}}

    assert printed(PODS, pod(status))["Restarts"] == "2 (24h ago)"
    assert printed(PODS, pod(container_status(**RUNNING)))["Restarts"] == "0"


def test_wide_pods_show_where_they_run() -> None:
    shown = printed(PODS, pod(podIP="10.244.0.7"), wide=True)

    assert shown["IP"] == "10.244.0.7"
    assert shown["Node"] == shown["Nominated Node"] == shown["Readiness Gates"] == "<none>"


def test_services() -> None:
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.7",
        "selector": {"app": "web"},
        "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    }

    shown = printed(SERVICES, {"metadata": {"name": "web"}, "spec": spec}, wide=True)

    assert (shown["Type"], shown["Cluster-IP"], shown["External-IP"], shown["Port(s)"]) == (
        ("ClusterIP", "10.96.0.7", "<none>", "80/TCP,53/UDP")
    )
    assert shown["Selector"] == "app=web"


def test_deployments_and_replica_sets() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
    }
    status = {"readyReplicas": 1, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 1}
    spec = {"replicas": 3, "template": template, "selector": selector}
    obj = {"metadata": {"name": "web"}, "spec": spec, "status": status}

    wide = printed(DEPLOYMENTS, obj, wide=True)
    assert (wide["Ready"], wide["Up-to-date"], wide["Available"]) == ("1/3", 2, 1)
    assert (wide["Containers"], wide["Images"]) == ("a,b", "x,y")
    assert wide["Selector"] == "app=web,tier in (a,b)"
    shown = printed(REPLICA_SETS, obj)
    assert (shown["Desired"], shown["Current"], shown["Ready"]) == (3, 3, 1)


def test_stateful_sets_and_their_revisions() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "x"}]}}
    obj = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "template": template},
        "status": {"readyReplicas": 2},
    }
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "controller": True}

    assert list(printed(STATEFUL_SETS, obj)) == ["Name", "Ready", "Age"]
    wide = printed(STATEFUL_SETS, obj, wide=True)
    assert (wide["Ready"], wide["Containers"], wide["Images"]) == ("2/3", "a", "x")
    shown = printed(
        CONTROLLER_REVISIONS,
        {"metadata": {"name": "web-1", "ownerReferences": [owner]}, "revision": 4},
    )
    assert (shown["Controller"], shown["Revision"]) == ("statefulset.apps/web", 4)
    assert printed(CONTROLLER_REVISIONS, {"metadata": {}})["Controller"] == "<none>"


def test_endpoint_slices_are_abridged() -> None:
    endpoints = [{"addresses": [f"10.244.0.{n}"]} for n in range(5)]
    obj = {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints}

    shown = printed(ENDPOINT_SLICES, obj)

    assert shown["Endpoints"] == "10.244.0.0,10.244.0.1,10.244.0.2 + 2 more..."


def test_events_start_with_when_they_were_last_seen() -> None:
    obj = {
        "lastTimestamp": YESTERDAY,
        "type": "Warning",
        "reason": "BackOff",
        "message": "restarting\n",
        "involvedObject": {"kind": "Pod", "name": "web"},
    }

    assert printed(EVENTS, obj) == {
        "Last Seen": "24h",
        "Type": "Warning",
        "Reason": "BackOff",
        "Object": "pod/web",
        "Message": "restarting",
    }


def test_nodes() -> None:
    obj = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.244.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.32"},
        },
    }

    shown = printed(NODES, obj, wide=True)

    assert (shown["Status"], shown["Roles"], shown["Version"]) == (
        "Ready",
        "control-plane",
        "v1.32",
    )
    assert (shown["Internal-IP"], shown["External-IP"]) == ("10.244.0.1", "<none>")


def test_service_entries_list_their_hosts() -> None:
    spec = {"hosts": ["a.com", "*.b.com"], "location": "MESH_INTERNAL", "resolution": "STATIC"}

    assert printed(SERVICE_ENTRIES, {"metadata": {"name": "x"}, "spec": spec}) == {
        "Name": "x",
        "Age": "<unknown>",
        "Hosts": '["a.com","*.b.com"]',
        "Location": "MESH_INTERNAL",
        "Resolution": "STATIC",
    }


def test_secrets_count_their_keys() -> None:
    assert printed(SECRETS, {"data": {"a": "", "b": ""}, "type": "Opaque"})["Data"] == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_row_carries_what_was_asked_for(kind: Any) -> None:
    obj = {"metadata": {"name": "x", "namespace": "y"}, "spec": {}}

    def row(include: Any) -> dict[str, Any]:
        found: dict[str, Any] = table(kind, [obj], NOW, include_object=include)["rows"][0]
        return found

    assert row("Metadata")["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
    assert row("Object")["object"] is obj
    assert "object" not in row("None")


def test_the_table_tells_the_position_of_the_list_and_may_leave_out_its_columns() -> None:
    made = table(kind_of(PODS), [], NOW, resource_version="7", with_columns=False)

    assert made == {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7"},
        "columnDefinitions": [],
        "rows": [],
    }
