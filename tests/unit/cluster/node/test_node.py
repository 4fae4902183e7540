"""Pods become processes, and their status says so."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.api.condition import find_condition, is_true
from mutua.api.object import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    EVENTS,
    PODS,
    SECRETS,
    SERVICES,
    Object,
)
from mutua.runtime.network.rules import ServiceAddress
from mutua.testing.cluster import FakeCluster
from mutua.testing.node import FakeNode


class World(FakeCluster):
    """A store without controllers, and a node."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.node = FakeNode(self.store, self.clock, directory)

    async def pod(self, name: str = "web") -> Object:
        return await self.store.get(PODS, "shop", name)

    async def when(self, condition: Callable[[Object], Any], patience: float = 1000.0) -> Object:
        async def probe() -> Object | None:
            pod = await self.pod()
            return pod if condition(pod) else None

        found: Object = await self.until(probe, patience)
        return found

    async def gone(self) -> None:
        async def probe() -> bool:
            return await self.names(PODS) == []

        await self.until(probe)

    async def reasons(self) -> set[str]:
        return {event["reason"] for event in (await self.store.list(EVENTS, "shop")).items}


@pytest.fixture
def world(tmp_path: Path) -> Callable[[], World]:
    return lambda: World(tmp_path)


def pod(*commands: str, sidecar: bool = False, init: tuple[str, ...] = (), **spec: Any) -> Object:
    containers = [
        {"name": f"app{number}" if number else "app", "image": "any:1", "command": [command]}
        for number, command in enumerate(commands or ("sleep",))
    ]
    annotations = {}
    if sidecar:
        containers.append({"name": "istio-proxy", "image": "proxy", "command": []})
        annotations["sidecar.istio.io/status"] = "{}"
    inits = [{"name": f"init{n}", "image": "i", "command": [c]} for n, c in enumerate(init)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web", "annotations": annotations},
        "spec": {"containers": containers, **({"initContainers": inits} if init else {}), **spec},
    }


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


def waiting(pod: Object) -> dict[str, Any]:
    [status] = pod["status"]["containerStatuses"]
    reason: dict[str, Any] = status["state"].get("waiting") or {}
    return reason


def waits_for(reason: str) -> Callable[[Object], bool]:
    return lambda pod: "status" in pod and waiting(pod).get("reason") == reason


async def test_a_pod_gets_an_address_runs_and_is_ready(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod())

        running = await cluster.when(is_ready)

        status = running["status"]
        assert status["phase"] == "Running"
        assert status["podIP"] == "10.244.0.2"
        assert status["hostIP"] == "10.244.0.1"
        [container] = status["containerStatuses"]
        assert container["ready"]
        assert container["restartCount"] == 0
        assert "running" in container["state"]
        uid = running["metadata"]["uid"]
        assert cluster.node.containers.running == [f"{uid}/app/0"]
        assert cluster.node.network.addresses == {uid: "10.244.0.2"}
        await cluster.settle()
        assert {"Scheduled", "Pulled", "Created", "Started"} <= await cluster.reasons()


async def test_containers_of_a_meshed_pod_wait_for_the_proxy(world: Callable[[], World]) -> None:
    cluster = world()
    cluster.node.sidecars.ready = False
    async with cluster.node.running():
        created = await cluster.apply(PODS, pod("sleep", sidecar=True, init=("ok",)))
        uid = created["metadata"]["uid"]
        await cluster.until(lambda: cluster.node.containers.running)
        await cluster.settle()
        assert cluster.node.containers.running == [f"{uid}/istio-proxy/0"]
        assert uid in cluster.node.network.captured
        assert cluster.node.sidecars.prepared[uid]["status"]["podIP"] == "10.244.0.2"
        assert (await cluster.pod())["status"]["phase"] == "Pending"

        cluster.node.sidecars.ready = True
        running = await cluster.when(is_ready)

        assert [s["ready"] for s in running["status"]["containerStatuses"]] == [True, True]
        spec = cluster.node.containers.specs[f"{uid}/istio-proxy/0"]
        assert spec.capabilities == ("NET_ADMIN",)
        assert spec.env["PROXY"] == "1"
        assert cluster.node.containers.specs[f"{uid}/app/0"].capabilities == ()


async def test_a_proxy_that_ends_is_restarted_at_once_and_apps_go_on(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, pod("sleep", sidecar=True)))["metadata"]["uid"]
        await cluster.when(is_ready)
        begun = cluster.clock.now()

        cluster.node.containers.finish(f"{uid}/istio-proxy/0", 1)
        await cluster.when(lambda p: p["status"]["containerStatuses"][1]["restartCount"] == 1)
        await cluster.when(is_ready)

        assert set(cluster.node.containers.running) == {f"{uid}/app/0", f"{uid}/istio-proxy/1"}
        assert (cluster.clock.now() - begun).total_seconds() < 1


async def test_init_containers_run_one_after_the_other(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("sleep", init=("ok", "sleep")))
        uid = (await cluster.pod())["metadata"]["uid"]
        await cluster.until(lambda: cluster.node.containers.running == [f"{uid}/init1/0"])
        assert not is_true(await cluster.pod(), "Initialized")

        cluster.node.containers.finish(f"{uid}/init1/0", 0)

        running = await cluster.when(is_ready)
        assert [s["ready"] for s in running["status"]["initContainerStatuses"]] == [True, True]


async def test_a_crashing_container_backs_off_and_says_so(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("crash"))

        looping = await cluster.when(waits_for("CrashLoopBackOff"))
        [status] = looping["status"]["containerStatuses"]
        assert status["lastState"]["terminated"]["exitCode"] == 1
        assert "back-off 10s" in waiting(looping)["message"]
        begun = cluster.clock.now()
        await cluster.when(lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 4)

        elapsed = (cluster.clock.now() - begun).total_seconds()
        assert 10 + 20 <= elapsed < 10 + 20 + 40
        assert "BackOff" in await cluster.reasons()


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        pytest.param(pod("missing"), "CreateContainerError", "not found in PATH", id="no program"),
        pytest.param(
            {**pod(), "spec": {"containers": [{"name": "app", "image": "shop/web:1"}]}},
            "ErrImagePull",
            "mutua-images",
            id="no image",
        ),
        pytest.param(
            {
                **pod(),
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "image": "x",
                            "command": ["sleep"],
                            "envFrom": [{"configMapRef": {"name": "settings"}}],
                        }
                    ]
                },
            },
            "CreateContainerConfigError",
            'configmap "settings" not found',
            id="no ConfigMap",
        ),
    ],
)
async def test_what_cannot_start_says_why(
    world: Callable[[], World], spec: Object, reason: str, message: str
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, spec)

        stuck = await cluster.when(waits_for(reason))

        assert message in waiting(stuck)["message"]
        assert stuck["status"]["phase"] == "Pending"
        await cluster.until(cluster.reasons)
        await cluster.settle()
        assert "Failed" in await cluster.reasons()


async def test_an_entry_in_the_image_catalogue_cures_an_unknown_image(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        bare = {**pod(), "spec": {"containers": [{"name": "app", "image": "shop/web:1"}]}}
        await cluster.apply(PODS, bare)
        await cluster.when(waits_for("ErrImagePull"))
        begun = cluster.clock.now()

        await cluster.apply(
            CONFIG_MAPS,
            {
                "metadata": {"namespace": "istio-system", "name": "mutua-images"},
                "data": {"mine": "shop/web: sleep infinity"},
            },
        )
        await cluster.when(is_ready)

        assert (cluster.clock.now() - begun).total_seconds() < 1


async def test_deletion_asks_first_and_removes_every_trace(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, pod("sleep", sidecar=True)))["metadata"]["uid"]
        await cluster.when(is_ready)

        await cluster.store.delete(PODS, "shop", "web", grace=30)
        await cluster.gone()

        order = [(name.split("/")[1], signum) for name, signum in cluster.node.containers.signals]
        assert order == [("app", 15), ("istio-proxy", 15)]
        assert cluster.node.containers.states == {}
        assert cluster.node.network.addresses == {}
        assert cluster.node.sidecars.prepared == {}
        assert not cluster.node.layout.pod(uid).exists()


@pytest.mark.parametrize(("grace", "lingers"), [(30, True), (0, False)])
async def test_a_pod_behind_a_service_serves_until_it_is_struck_off(
    world: Callable[[], World], grace: int, *, lingers: bool
) -> None:
    cluster = world()
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, pod()))["metadata"]["uid"]
        await cluster.when(is_ready)
        endpoint = {"addresses": ["10.244.0.2"], "targetRef": {"kind": "Pod", "uid": uid}}
        listed = {
            "metadata": {"namespace": "shop", "name": "web"},
            "addressType": "IPv4",
            "endpoints": [{**endpoint, "conditions": {"ready": True}}],
        }
        await cluster.apply(ENDPOINT_SLICES, listed)
        begun = cluster.clock.now()

        await cluster.store.delete(PODS, "shop", "web", grace=grace)
        await cluster.until(lambda: cluster.node.containers.states == {})

        # No controller strikes it off here: it waits as long as it waits for one, and no longer.
        elapsed = (cluster.clock.now() - begun).total_seconds()
        assert (1.0 <= elapsed <= 2.0) if lingers else elapsed < 0.5


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("stubborn"))
        await cluster.when(is_ready)
        begun = cluster.clock.now()

        await cluster.store.delete(PODS, "shop", "web", grace=7)
        await cluster.gone()

        assert 6 <= (cluster.clock.now() - begun).total_seconds() < 9
        assert [signum for _, signum in cluster.node.containers.signals] == [15, 9]


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize(("days", "kept"), [(-1, 6.0), (1, 0.0)])
async def test_a_clock_that_is_set_does_not_keep_a_pod_from_ending(
    world: Callable[[], World], days: int, kept: float, *, seen: bool
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("stubborn"))
        await cluster.when(is_ready)
        begun = asyncio.get_running_loop().time()

        await cluster.store.delete(PODS, "shop", "web", grace=7)
        if seen:
            await cluster.until(lambda: cluster.node.containers.signals != [])
        cluster.clock.step = timedelta(days=days)
        await cluster.gone()

        assert kept <= asyncio.get_running_loop().time() - begun < 9


async def test_an_object_that_vanishes_takes_its_processes_along(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("stubborn"))
        await cluster.when(is_ready)

        await cluster.store.delete(PODS, "shop", "web", grace=0)

        await cluster.until(lambda: cluster.node.containers.states == {})
        await cluster.until(lambda: cluster.node.network.addresses == {})


async def test_a_readiness_probe_decides(world: Callable[[], World]) -> None:
    cluster = world()
    cluster.node.prober.ill = {8080}
    spec = pod()
    spec["spec"]["containers"][0]["readinessProbe"] = {
        "httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1,
    }  # fmt: skip
    async with cluster.node.running():
        await cluster.apply(PODS, spec)
        running = await cluster.when(lambda p: p.get("status", {}).get("phase") == "Running")
        ready = find_condition(running, "Ready")
        assert ready is not None
        assert ready["message"] == "containers with unready status: [app]"

        cluster.node.prober.ill = set()
        await cluster.when(is_ready)
        cluster.node.prober.ill = {8080}
        await cluster.when(lambda p: not is_ready(p))

        await cluster.settle()
        assert "Unhealthy" in await cluster.reasons()
        assert cluster.node.containers.running


async def test_a_failed_liveness_probe_restarts_the_container(
    world: Callable[[], World],
) -> None:
    cluster = world()
    cluster.node.containers.exec_code = 1
    spec = pod()
    spec["spec"]["containers"][0]["livenessProbe"] = {
        "exec": {"command": ["check"]}, "periodSeconds": 1,
    }  # fmt: skip
    async with cluster.node.running():
        await cluster.apply(PODS, spec)

        await cluster.when(
            lambda p: p.get("status") and p["status"]["containerStatuses"][0]["restartCount"] == 1
        )

        assert cluster.node.containers.executed[0][1] == ("check",)
        assert (cluster.node.containers.signals[0][1]) == 15
        assert {"Unhealthy", "Killing"} <= await cluster.reasons()


async def test_a_finished_pod_is_completed_and_leaves_the_network(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("ok", sidecar=True, restartPolicy="Never"))

        done = await cluster.when(lambda p: p.get("status", {}).get("phase") == "Succeeded")

        assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        await cluster.until(lambda: cluster.node.network.addresses == {})
        assert cluster.node.containers.running == []


async def test_a_new_daemon_adopts_what_runs_and_starts_nothing_twice(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("sleep", sidecar=True, init=("ok",)))
        before = await cluster.when(is_ready)
    ran = set(cluster.node.containers.running)

    async with cluster.node.running():
        await cluster.when(is_ready)
        await cluster.settle()

        assert set(cluster.node.containers.running) == ran
        after = await cluster.pod()
        assert after["status"]["podIP"] == before["status"]["podIP"]
        statuses = after["status"]["containerStatuses"]
        assert [s["restartCount"] for s in statuses] == [0, 0]


async def test_a_new_daemon_restarts_what_ended_meanwhile(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, pod()))["metadata"]["uid"]
        await cluster.when(is_ready)
    cluster.node.containers.finish(f"{uid}/app/0", 3)

    async with cluster.node.running():
        again = await cluster.when(
            lambda p: is_ready(p) and p["status"]["containerStatuses"][0]["restartCount"] == 1
        )

        [status] = again["status"]["containerStatuses"]
        assert status["lastState"]["terminated"]["exitCode"] == 3


async def test_a_new_shim_gets_every_container_again(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, pod()))["metadata"]["uid"]
        await cluster.when(is_ready)
    cluster.node.containers.states.clear()
    cluster.node.network.addresses.clear()

    async with cluster.node.running():
        await cluster.until(lambda: cluster.node.containers.running == [f"{uid}/app/1"])
        assert cluster.node.network.addresses == {uid: "10.244.0.2"}


async def test_what_belongs_to_no_pod_is_removed_at_the_start(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod())
        await cluster.when(is_ready)
    await cluster.store.delete(PODS, "shop", "web", grace=0)

    async with cluster.node.running():
        assert cluster.node.containers.states == {}
        assert cluster.node.network.addresses == {}


async def test_a_deletion_that_was_under_way_is_finished_by_the_next_daemon(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("stubborn"))
        await cluster.when(is_ready)
        await cluster.store.delete(PODS, "shop", "web", grace=5)
        await cluster.settle()

    async with cluster.node.running():
        await cluster.gone()

        assert cluster.node.containers.states == {}


async def test_an_edited_config_map_reaches_the_running_pod(world: Callable[[], World]) -> None:
    cluster = world()
    spec = pod(volumes=[{"name": "conf", "configMap": {"name": "settings"}}])
    spec["spec"]["containers"][0]["volumeMounts"] = [{"name": "conf", "mountPath": "/conf"}]
    settings = {"metadata": {"namespace": "shop", "name": "settings"}, "data": {"mode": "a"}}
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, spec))["metadata"]["uid"]
        await cluster.when(lambda p: "status" in p and "settings" in waiting(p).get("message", ""))
        await cluster.apply(CONFIG_MAPS, settings)
        await cluster.when(is_ready)
        file = cluster.node.layout.pod(uid) / "volumes/conf/mode"
        assert file.read_text() == "a"

        await cluster.edit(CONFIG_MAPS, "settings", lambda obj: obj.update(data={"mode": "b"}))

        await cluster.until(lambda: file.read_text() == "b")
        [mount] = [
            m for m in cluster.node.containers.specs[f"{uid}/app/0"].mounts if m.target == "/conf"
        ]
        assert mount.read_only


async def test_what_is_in_a_proxys_files_is_told_once_it_is_there(
    world: Callable[[], World],
) -> None:
    cluster = world()
    volumes = [
        {"name": "bank", "secret": {"secretName": "bank"}},
        {"name": "own", "configMap": {"name": "own", "optional": True}},
    ]
    spec = pod(sidecar=True, volumes=volumes)
    app, proxy = spec["spec"]["containers"]
    app["volumeMounts"] = [{"name": "own", "mountPath": "/own"}]
    proxy["volumeMounts"] = [{"name": "bank", "mountPath": "/etc/bank"}]

    def told(pod: Object) -> str:
        return str((find_condition(pod, "mutua.io/ProxyFiles") or {}).get("message", ""))

    secret = {"metadata": {"namespace": "shop", "name": "bank"}, "data": {"a": "YQ=="}}
    async with cluster.node.running():
        first = (await cluster.apply(SECRETS, secret))["metadata"]["resourceVersion"]
        uid = (await cluster.apply(PODS, spec))["metadata"]["uid"]
        file = cluster.node.layout.pod(uid) / "volumes/bank/a"
        assert told(await cluster.when(is_ready)) == f"secrets/bank {first}"

        await cluster.edit(SECRETS, "bank", lambda obj: obj.update(data={"a": "Yg=="}))

        await cluster.when(lambda pod: told(pod) != f"secrets/bank {first}")
        assert file.read_text() == "b"
    async with cluster.node.running():  # another daemon, which has read nothing yet
        later = (await cluster.store.get(SECRETS, "shop", "bank"))["metadata"]["resourceVersion"]
        await cluster.settle()
        assert told(await cluster.pod()) == f"secrets/bank {later}"


TOKEN = {
    "name": "token",
    "projected": {
        "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}]
    },
}


async def test_a_token_is_replaced_at_four_fifths_of_its_life(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod(volumes=[TOKEN]))
        await cluster.when(is_ready)
        begun = cluster.clock.now()
        assert cluster.node.tokens.issued == 1

        await cluster.until(lambda: cluster.node.tokens.issued == 2, 1000.0)

        assert 480 <= (cluster.clock.now() - begun).total_seconds() <= 495


async def test_a_missing_secret_delays_the_pod_until_it_is_there(
    world: Callable[[], World],
) -> None:
    cluster = world()
    spec = pod(volumes=[{"name": "keys", "secret": {"secretName": "keys"}}])
    async with cluster.node.running():
        await cluster.apply(PODS, spec)
        await cluster.when(lambda p: "status" in p and "keys" in waiting(p).get("message", ""))

        secret = {"metadata": {"namespace": "shop", "name": "keys"}, "data": {"a": "YQ=="}}
        await cluster.apply(SECRETS, secret)

        await cluster.when(is_ready)
        assert "FailedMount" in await cluster.reasons()


async def test_a_secret_in_a_command_is_not_told_in_events(world: Callable[[], World]) -> None:
    cluster = world()
    spec = pod("serve")
    spec["spec"]["containers"][0] |= {
        "args": ["--password=$(PASSWORD)"],
        "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}],
    }
    secret = {"metadata": {"namespace": "shop", "name": "keys"}, "data": {"a": "aHVudGVyMg=="}}
    async with cluster.node.running():
        await cluster.apply(SECRETS, secret)
        uid = (await cluster.apply(PODS, spec))["metadata"]["uid"]
        running = await cluster.when(is_ready)
        await cluster.settle()
        events = (await cluster.store.list(EVENTS, "shop")).items

        argv = cluster.node.containers.specs[f"{uid}/app/0"].argv
        assert argv == ("serve", "--password=hunter2")
        assert any("--password=$(PASSWORD)" in event["message"] for event in events)
        assert "hunter2" not in f"{events}{running}"


async def test_a_link_in_an_empty_dir_makes_nothing_outside_of_it(
    world: Callable[[], World], tmp_path: Path
) -> None:
    cluster = world()
    outside = tmp_path / "outside"
    outside.mkdir()
    spec = pod("sleep", volumes=[{"name": "scratch", "emptyDir": {}}])
    spec["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "scratch", "mountPath": "/data", "subPath": "way/out"}
    ]
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, spec))["metadata"]["uid"]
        await cluster.when(is_ready)
        scratch = cluster.node.layout.pod(uid) / "volumes/scratch"
        assert (scratch / "way/out").is_dir()
        (scratch / "way/out").rmdir()
        (scratch / "way").rmdir()
        (scratch / "way").symlink_to(outside)

        cluster.node.containers.finish(f"{uid}/app/0", 1)
        await cluster.until(lambda: cluster.node.containers.running == [f"{uid}/app/1"])

        assert list(outside.iterdir()) == []
        mounts = cluster.node.containers.specs[f"{uid}/app/1"].mounts
        [mount] = [one for one in mounts if one.target == "/data"]
        assert (mount.source, mount.inside) == (str(scratch), "way/out")


async def test_the_longest_name_a_pod_may_have_can_run(world: Callable[[], World]) -> None:
    cluster = world()
    spec = pod("sleep")
    spec["metadata"]["name"] = "a" * 253
    async with cluster.node.running():
        uid = (await cluster.apply(PODS, spec))["metadata"]["uid"]
        await cluster.until(lambda: cluster.node.containers.running == [f"{uid}/app/0"])


async def test_a_pod_of_another_node_is_left_alone(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod(nodeName="elsewhere"))
        await cluster.settle()

        assert cluster.node.containers.running == []


async def test_a_pod_that_nobody_bound_is_bound_to_this_node(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod())

        running = await cluster.when(is_ready)

        assert running["spec"]["nodeName"] == "mutua-node"


async def test_an_adopted_proxy_stays_ready_while_it_reconnects(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod("sleep", sidecar=True))
        before = await cluster.when(is_ready)
    cluster.node.sidecars.ready = False

    async with cluster.node.running():
        await cluster.settle()

        assert (await cluster.pod())["status"] == before["status"]


async def test_an_address_is_durable_before_it_is_used(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod())
        await cluster.until(lambda: cluster.node.network.addresses)

        [ip] = cluster.node.network.addresses.values()
        assert (await cluster.pod())["status"]["podIP"] == ip


async def test_deleting_an_unwell_pod_does_not_wait_for_its_restart(
    world: Callable[[], World],
) -> None:
    cluster = world()
    cluster.node.containers.exec_code = 1
    spec = pod("stubborn", terminationGracePeriodSeconds=300)
    spec["spec"]["containers"][0]["livenessProbe"] = {
        "exec": {"command": ["check"]}, "periodSeconds": 1,
    }  # fmt: skip
    async with cluster.node.running():
        await cluster.apply(PODS, spec)
        await cluster.until(lambda: cluster.node.containers.signals)
        begun = cluster.clock.now()

        await cluster.store.delete(PODS, "shop", "web", grace=5)
        await cluster.gone()

        assert (cluster.clock.now() - begun).total_seconds() < 10


async def test_a_pre_stop_hook_runs_before_the_signal(world: Callable[[], World]) -> None:
    cluster = world()
    spec = pod()
    spec["spec"]["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["drain"]}}}
    async with cluster.node.running():
        await cluster.apply(PODS, spec)
        await cluster.when(is_ready)

        await cluster.store.delete(PODS, "shop", "web", grace=5)
        await cluster.gone()

        assert [argv for _, argv in cluster.node.containers.executed] == [("drain",)]


async def test_a_startup_probe_holds_the_others_back(world: Callable[[], World]) -> None:
    cluster = world()
    cluster.node.prober.ill = {1}
    spec = pod()
    spec["spec"]["containers"][0] |= {
        "startupProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1},
        "readinessProbe": {"tcpSocket": {"port": 2}, "periodSeconds": 1},
    }
    async with cluster.node.running():
        await cluster.apply(PODS, spec)
        await cluster.until(lambda: len(cluster.node.prober.asked) > 3)
        assert {target.port for target in cluster.node.prober.asked} == {1}

        cluster.node.prober.ill = set()

        await cluster.when(is_ready)


async def test_an_object_deleted_and_made_again_gets_new_processes(
    world: Callable[[], World],
) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(PODS, pod())
        before = await cluster.when(is_ready)

        await cluster.store.delete(PODS, "shop", "web", grace=0)
        await cluster.apply(PODS, pod())
        after = await cluster.when(is_ready)
        await cluster.until(lambda: len(cluster.node.containers.states) == 1)

        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert cluster.node.containers.running == [f"{after['metadata']['uid']}/app/0"]
        assert after["status"]["podIP"] != before["status"]["podIP"]


async def test_service_addresses_lead_to_ready_pods(world: Callable[[], World]) -> None:
    cluster = world()
    async with cluster.node.running():
        await cluster.apply(
            SERVICES,
            {
                "metadata": {"namespace": "shop", "name": "web"},
                "spec": {"clusterIP": "10.96.1.1", "ports": [{"port": 80}]},
            },
        )
        await cluster.until(lambda: cluster.node.network.table)

        assert cluster.node.network.table == {ServiceAddress("10.96.1.1", 80): ()}
