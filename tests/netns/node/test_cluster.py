"""Deployments become processes with addresses, and go without a trace.

The tests are plain functions: their bodies run in a child that has joined the mesh's namespaces.
"""

import asyncio
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from mutua.api.condition import is_true
from mutua.api.object import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, SERVICES, Object
from mutua.cluster.controllers.service_ip import ServiceAddresses
from mutua.runtime.spec import pod_of
from mutua.testing.cluster import deployment, service
from mutua.testing.daemons import LiveCluster, in_daemon, in_doomed_daemon, running
from mutua.testing.shims import PrivateMesh, is_alive

TMP = Path("/tmp")

SERVE = f"{sys.executable} -m http.server 8080 --directory /srv/web"

GET = """\
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode(), end="")
"""


def web(replicas: int = 2) -> Object:
    """A server of files from a ConfigMap, ready when it answers."""
    obj = deployment(replicas=replicas)
    obj["spec"]["template"]["spec"] = {
        "volumes": [{"name": "content", "configMap": {"name": "content"}}],
        "containers": [
            {
                "name": "app",
                "image": "web:1",
                "command": SERVE.split(),
                "volumeMounts": [{"name": "content", "mountPath": "/srv/web"}],
                "readinessProbe": {"httpGet": {"path": "/index.html", "port": 8080}},
            }
        ],
    }
    return obj


def sleeper(name: str = "client", *command: str, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "containers": [
                {"name": "app", "image": "x", "command": list(command or ("sleep", "infinity"))}
            ],
            **spec,
        },
    }


CONTENT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"namespace": "shop", "name": "content"},
    "data": {"index.html": "hello"},
}


async def fetch(mesh: PrivateMesh, cluster: LiveCluster, pod: Object, url: str) -> str:
    """Return what a pod gets from a URL, "" where nobody answers."""
    identifier = f"{pod['metadata']['uid']}/app/0"
    result = await mesh.run(cluster.shim, identifier, sys.executable, "-I", "-c", GET, url)
    return result.output if result.code == 0 else ""


def test_a_deployment_serves_behind_a_service_and_a_namespace_takes_it_away(
    mesh: PrivateMesh,
) -> None:
    async def body() -> None:
        async with running(mesh) as cluster:
            await cluster.store.create(
                NAMESPACES,
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": "shop", "finalizers": ["kubernetes"]},
                },
            )
            await cluster.store.create(CONFIG_MAPS, CONTENT)
            addressed = await ServiceAddresses(cluster.store).admit(SERVICES, service(), None)
            await cluster.store.create(SERVICES, addressed)
            begun = time.monotonic()
            await cluster.store.create(DEPLOYMENTS, web())
            await cluster.store.create(PODS, sleeper())

            pods = await cluster.ready_pods(3)
            elapsed = time.monotonic() - begun
            [client] = [pod for pod in pods if pod["metadata"]["name"] == "client"]
            vip = addressed["spec"]["clusterIP"]

            async def through_the_service() -> bool:
                return await fetch(mesh, cluster, client, f"http://{vip}:80/index.html") == "hello"

            assert await cluster.until(through_the_service)
            assert elapsed < 25, "generous: the machine may be busy"
            running_pids = [state.pid for state in await cluster.shim.containers()]

            begun = time.monotonic()
            await cluster.store.delete(NAMESPACES, "", "shop")
            await cluster.empty(PODS)
            assert time.monotonic() - begun < 25, "processes that obey SIGTERM need no grace"

            assert await cluster.shim.containers() == []
            assert await cluster.network.attached() == frozenset()
            assert not any(is_alive(pid) for pid in running_pids)
            assert not list(mesh.layout.logs.iterdir())

    in_daemon(mesh, body)


def test_the_next_daemon_adopts_the_processes_of_the_one_that_was_killed(
    mesh: PrivateMesh,
) -> None:
    async def first() -> None:
        async with running(mesh) as cluster:
            await cluster.store.create(PODS, sleeper("one"))
            await cluster.store.create(PODS, sleeper("two"))
            await cluster.ready_pods(2)

    async def second() -> None:
        async with mesh.connect() as shim:
            before = {state.id: state.pid for state in await shim.containers()}
            [doomed] = [name for name in before if name == min(before)]
            await shim.signal(doomed, 9)
            await mesh.wait_end(shim, doomed)
        async with running(mesh) as cluster:

            async def restarted() -> bool:
                counts = [
                    status["restartCount"]
                    for pod in await cluster.ready_pods(2)
                    for status in pod["status"]["containerStatuses"]
                ]
                return sorted(counts) == [0, 1]

            await cluster.until(restarted)
            after = {state.id: state.pid for state in await cluster.shim.containers()}
            survivor = max(before)
            assert after[survivor] == before[survivor]
            assert set(after) == {survivor, doomed.replace("/app/0", "/app/1")}

    in_daemon(mesh, first)
    in_daemon(mesh, second)


def test_what_cannot_run_says_why(mesh: PrivateMesh) -> None:
    async def body() -> None:
        async with running(mesh) as cluster:
            await cluster.store.create(PODS, sleeper("missing", "no-such-program"))
            taken = f"{sys.executable} -c 'raise SystemExit(\"port 80 is taken\")'"
            await cluster.store.create(PODS, sleeper("crashing", "sh", "-c", taken))

            async def messages() -> tuple[str, str] | None:
                try:
                    found = {pod["metadata"]["name"]: pod["status"] for pod in await cluster.pods()}
                    missing = found["missing"]["containerStatuses"][0]["state"]["waiting"]
                    crashing = found["crashing"]["containerStatuses"][0]
                    assert crashing["state"]["waiting"]["reason"] == "CrashLoopBackOff"
                    assert missing["reason"] == "CreateContainerError"
                    return missing["message"], crashing["lastState"]["terminated"]["message"]
                except (KeyError, AssertionError):
                    return None

            missing, crashing = await cluster.until(messages)
            assert "no-such-program" in missing
            assert "port 80 is taken" in crashing

    in_daemon(mesh, body)


def test_a_container_sees_its_own_name_files_and_volumes(mesh: PrivateMesh) -> None:
    look = "hostname; cat /etc/resolv.conf; grep client /etc/hosts; cat /conf/*.html; echo; ls /tmp"

    async def body() -> None:
        async with running(mesh) as cluster:
            await cluster.store.create(CONFIG_MAPS, CONTENT)
            pod = sleeper(volumes=[{"name": "conf", "configMap": {"name": "content"}}])
            [container] = pod["spec"]["containers"]
            container["volumeMounts"] = [{"name": "conf", "mountPath": "/conf"}]
            await cluster.store.create(PODS, pod)
            [ready] = await cluster.ready_pods(1)
            identifier = f"{ready['metadata']['uid']}/app/0"

            seen = await mesh.run(cluster.shim, identifier, "sh", "-c", look)

            assert seen.output.splitlines() == [
                "client",
                "nameserver 10.96.0.10",
                "search shop.svc.cluster.local svc.cluster.local cluster.local",
                "options ndots:5",
                f"{ready['status']['podIP']}\tclient",
                "hello",
                *kept_of_tmp(),
            ]
            await asyncio.sleep(0)

    in_daemon(mesh, body)


def kept_of_tmp() -> list[str]:
    """What a private /tmp shows all the same: where Python is installed, if that is below /tmp."""
    kept = {path for path in map(Path, (sys.prefix, sys.base_prefix)) if TMP in path.parents}
    return sorted({path.relative_to(TMP).parts[0] for path in kept})


def test_daemons_killed_at_random_leave_a_cluster_that_converges(mesh: PrivateMesh) -> None:
    random = Random(7)

    async def churn() -> None:
        async with running(mesh) as cluster:
            names = [obj["metadata"]["name"] for obj in await deployments(cluster)]
            for number in range(1000):
                name = f"web{number % 3}"
                if name in names:
                    names.remove(name)
                    await cluster.store.delete(DEPLOYMENTS, "shop", name)
                else:
                    names.append(name)
                    await cluster.store.create(DEPLOYMENTS, sleepers(name))
                await asyncio.sleep(0.1)

    async def settle() -> None:
        async with running(mesh) as cluster:
            wanted = 2 * len(await deployments(cluster))

            async def exactly_the_wanted() -> bool:
                pods = await cluster.pods()
                uids = sorted(pod["metadata"]["uid"] for pod in pods)
                found = await cluster.shim.containers()
                return (
                    len(pods) == wanted
                    and all(is_true(pod, "Ready") for pod in pods)
                    and len({pod["status"]["podIP"] for pod in pods}) == wanted
                    and sorted(pod_of(state.id) for state in found if state.running) == uids
                    and len(found) == wanted
                    and sorted(await cluster.network.attached()) == uids
                )

            await cluster.until(exactly_the_wanted)

    for _ in range(5):
        in_doomed_daemon(mesh, churn, after=random.uniform(0.3, 1.5))
    in_daemon(mesh, settle)


async def deployments(cluster: LiveCluster) -> list[Object]:
    return list((await cluster.store.list(DEPLOYMENTS, "shop")).items)


def sleepers(name: str) -> Object:
    obj = deployment(name, replicas=2)
    [container] = obj["spec"]["template"]["spec"]["containers"]
    container["command"] = ["sleep", "infinity"]
    return obj
