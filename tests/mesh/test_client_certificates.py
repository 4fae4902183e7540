"""Certificates of a client's own: from Secrets that rules name, and in files that are not there."""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

NAMESPACE = "shop"


def rule(**tls: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "bank", "namespace": NAMESPACE},
            "spec": {"host": "bank.example.com", "trafficPolicy": {"tls": tls}},
        }
    )


MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: c, image: curl}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bank, namespace: shop}
spec:
  hosts: [bank.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: http, protocol: HTTP}]
  endpoints: [{address: 10.1.2.3}]
"""


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> Iterator[RunningMesh]:
    mesh.apply(MANIFEST)
    mesh.kubectl("wait", "pod/client", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    yield mesh
    mesh.kubectl("delete", "namespace", NAMESPACE)


CHAIN, KEY, ROOTS = (f"/etc/certs/{name}.pem" for name in ("cert-chain", "key", "root-cert"))
ABSENT = "/etc/client/absent"


@pytest.mark.parametrize(
    "files",
    [
        {"mode": "MUTUAL", "clientCertificate": ABSENT, "privateKey": KEY},
        {"mode": "MUTUAL", "clientCertificate": CHAIN, "privateKey": ABSENT},
        {
            "mode": "MUTUAL",
            "clientCertificate": CHAIN,
            "privateKey": KEY,
            "caCertificates": ABSENT,
        },
        {"mode": "SIMPLE", "caCertificates": ROOTS, "caCrl": ABSENT},
    ],
    ids=["certificate", "key", "roots", "revocation list"],
)
def test_a_file_that_the_proxy_does_not_have_is_named_everywhere(
    shop: RunningMesh, files: dict[str, str]
) -> None:
    shop.apply(rule(**files))
    try:
        waited = shop.kubectl(
            "wait", "dr/bank", "-n", NAMESPACE, "--timeout=60s",
            "--for=jsonpath={.status.conditions[?(@.type=='Accepted')].reason}=RejectedByProxy",
        )  # fmt: skip
        assert "condition met" in waited.stdout
        text = shop.kubectl("get", "dr", "bank", "-n", NAMESPACE, "-o", "yaml").stdout
        assert "client.shop refused outbound|443||bank.example.com" in text
        assert ABSENT in text[text.index("status:") :]
        named_everywhere(shop, ABSENT)
        eventually(lambda: is_synced_but_for_clusters(shop), "what else there is has arrived")
        (config,) = json.loads(shop.mutua("ps", "client.shop", "-o", "json").stdout)
        (clusters,) = (
            one for one in config["genericXdsConfigs"] if one["typeUrl"].endswith(".Cluster")
        )
        assert clusters["configStatus"] == "ERROR"
        assert ABSENT in clusters["errorState"]["details"]
    finally:
        shop.kubectl("delete", "dr", "bank", "-n", NAMESPACE)
        shop.kubectl("delete", "events", "--all", "-n", NAMESPACE)


def named_everywhere(mesh: RunningMesh, words: str) -> None:
    """Wait until words are wherever one looks; which place has them first is open."""
    for where, look in {
        "analyze": lambda: mesh.mutua("analyze", "-n", NAMESPACE, check=False),
        "events": lambda: mesh.kubectl("get", "events", "-n", NAMESPACE),
        "log": lambda: mesh.kubectl("logs", "-n", "istio-system", "deploy/istiod"),
    }.items():
        eventually(lambda look=look: words in look().stdout, f"{where} says {words}")


def is_synced_but_for_clusters(mesh: RunningMesh) -> bool:
    status = mesh.mutua("proxy-status", "client.shop", "-v", "1").stdout
    header, row = (re.split(" {2,}", line) for line in status.splitlines())
    states = dict(zip(header, row, strict=True))
    return states["CDS"].startswith("ERROR (") and states["LDS"].startswith("SYNCED (")


# The Secrets that a rule names.

BANK = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "vault",
        "namespace": NAMESPACE,
        "labels": {"app": "vault", "sidecar.istio.io/inject": "false"},
    },
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "x",
                "command": [
                    *(sys.executable, "-m", "mutua.testing.reachability.server"),
                    *(f"/etc/bank/{name}" for name in ("tls.crt", "tls.key", "clients.crt")),
                    *("7001", "7002"),
                ],
                "volumeMounts": [{"name": "bank", "mountPath": "/etc/bank"}],
                "readinessProbe": {"tcpSocket": {"port": 7001}, "periodSeconds": 1},
            }
        ],
        "volumes": [{"name": "bank", "secret": {"secretName": "bank-server"}}],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "vault", "namespace": NAMESPACE},
    "spec": {
        "selector": {"app": "vault"},
        "ports": [{"name": "http", "port": 80, "targetPort": 7001}],
    },
}


def secret(name: str, **data: str) -> dict[str, Any]:
    files = {key.replace("_", "."): value for key, value in data.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": files}


class Vault:
    """A server that lets in whoever shows one of two certificates."""

    def __init__(self, mesh: RunningMesh, self_signed: Any) -> None:
        self.mesh = mesh
        self.server, self.first, self.second = map(self_signed, ("vault", "first", "second"))
        clients = self.first.certificate + self.second.certificate
        own = {"tls_crt": self.server.certificate, "tls_key": self.server.key}
        mesh.apply(json.dumps(secret("bank-server", **own, clients_crt=clients)))
        for one in (BANK, SERVICE):
            mesh.apply(json.dumps(one))
        mesh.apply(MANIFEST.partition("---")[2].partition("---")[0].replace("client", "other"))
        for pod in ("vault", "other"):
            ready = ("--for=condition=Ready", "--timeout=60s")
            mesh.kubectl("wait", f"pod/{pod}", "-n", NAMESPACE, *ready)

    def rule(self, mode: str) -> None:
        """Have the client call the vault with TLS, and its proxy ask for Secret `bank`."""
        tls = {"mode": mode, "credentialName": "bank", "subjectAltNames": ["vault"]}
        metadata = {"name": "vault", "namespace": NAMESPACE}
        spec = {
            "host": "vault",
            "trafficPolicy": {"tls": tls},
            "workloadSelector": {"matchLabels": {"app": "client"}},
        }
        version = "networking.istio.io/v1"
        obj = {"apiVersion": version, "kind": "DestinationRule", "metadata": metadata, "spec": spec}
        self.mesh.apply(json.dumps(obj))
        self.mesh.kubectl(
            "wait", "dr/vault", "-n", NAMESPACE, "--for=condition=InForce", "--timeout=60s"
        )

    def call(self, client: str = "client") -> str:
        """Return whom the vault takes a client for, "" for nobody, or how the call failed."""
        curl = ("curl", "-s", "-m", "20", "-w", "\n%{http_code}", "http://vault/")
        argv = ("exec", client, "-n", NAMESPACE, "-c", "c", "--", *curl)
        said = self.mesh.kubectl(*argv, check=False).stdout
        body, _, status = said.rpartition("\n")
        return str(json.loads(body)["proved"]) if status == "200" else status

    def remark(self) -> str:
        """Return what the rule's status says about its parts."""
        conditions = self.mesh.get("dr", "vault", "-n", NAMESPACE)["status"]["conditions"]
        return next(str(one["message"]) for one in conditions if one["type"] == "Ignored")


@pytest.fixture(scope="module")
def vault(shop: RunningMesh, self_signed: Any) -> Vault:
    return Vault(shop, self_signed)


def test_a_client_shows_the_certificate_of_the_secret_that_its_rule_names(vault: Vault) -> None:
    vault.rule("MUTUAL")

    # Not there: calls fail, and nothing else does.
    assert vault.call() == "503"
    eventually(
        lambda: "Secret shop/bank does not exist; connections fail" in vault.remark(),
        "the status names the Secret",
    )
    found = vault.mesh.mutua("analyze", "-n", NAMESPACE, check=False).stdout
    assert "Error [IST0101] (DestinationRule shop/vault) Secret shop/bank does not exist" in found

    own = {"tls_crt": vault.first.certificate, "tls_key": vault.first.key}
    vault.mesh.apply(json.dumps(secret("bank", **own)))
    eventually(lambda: "Secret shop/bank has no ca.crt" in vault.remark(), "and what it lacks")
    found = vault.mesh.mutua("analyze", "-n", NAMESPACE, check=False).stdout
    assert "Error [MUT0117] (DestinationRule shop/vault) Secret shop/bank has no ca.crt" in found
    assert vault.call() == "503"

    vault.mesh.apply(json.dumps(secret("bank", **own, ca_crt=vault.server.certificate)))
    eventually(lambda: vault.call() == "first", "the vault knows the client")
    eventually(lambda: vault.remark() == "all of it has an effect", "nothing is missing")
    assert vault.call("other") == ""  # the rule means other clients: this one calls in plaintext


def test_another_certificate_in_the_secret_is_shown_without_a_restart(vault: Vault) -> None:
    own = {"tls_crt": vault.second.certificate, "tls_key": vault.second.key}
    vault.mesh.apply(json.dumps(secret("bank", **own)))

    # New connections only: those that are open keep what they were made with.
    eventually(lambda: vault.call() == "second", "the vault knows the client by its new name")


def test_roots_may_be_in_a_secret_of_their_own_and_a_wrong_one_lets_nobody_pass(
    vault: Vault,
) -> None:
    vault.rule("SIMPLE")
    eventually(lambda: vault.call() == "", "the vault learns no name")

    vault.mesh.apply(json.dumps(secret("bank-cacert", cacert=vault.second.certificate)))
    eventually(lambda: vault.call() == "503", "the vault is not who the roots say")

    vault.mesh.apply(json.dumps(secret("bank-cacert", cacert=vault.server.certificate)))
    eventually(lambda: vault.call() == "", "and then it is")


def test_a_secret_that_is_no_certificate_is_named(vault: Vault) -> None:
    vault.rule("MUTUAL")
    own = {"tls_crt": "no certificate", "tls_key": "no key"}
    vault.mesh.apply(json.dumps(secret("bank", **own)))

    eventually(lambda: "Secret shop/bank was refused: " in vault.remark(), "the status names it")
    assert "no key" not in vault.mesh.kubectl("logs", "-n", "istio-system", "deploy/istiod").stdout


def test_no_key_is_shown_by_a_proxys_tools_nor_logged(vault: Vault) -> None:
    own = {"tls_crt": vault.first.certificate, "tls_key": vault.first.key}
    vault.mesh.apply(json.dumps(secret("bank", **own, ca_crt=vault.server.certificate)))
    eventually(lambda: vault.call() == "first", "the vault knows the client")
    middle = vault.first.key.splitlines()[1]

    shown = vault.mesh.mutua("istioctl", "pc", "all", "client.shop", "-o", "json").stdout

    assert "kubernetes://bank" in shown
    table = vault.mesh.mutua("istioctl", "pc", "secret", "client.shop").stdout
    assert re.search(r"kubernetes://bank +Cert Chain +ACTIVE +true", table)
    assert re.search(r"kubernetes://bank-cacert +CA +ACTIVE +true", table)
    assert middle not in shown
    assert middle not in vault.mesh.kubectl("logs", "-n", "istio-system", "deploy/istiod").stdout


# The same certificate in files: a Secret that a pod mounts into its proxy.

TILL = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "till",
        "namespace": NAMESPACE,
        "labels": {"app": "till"},
        "annotations": {
            "sidecar.istio.io/userVolume": json.dumps(
                [{"name": "till", "secret": {"secretName": "till"}}]
            ),
            "sidecar.istio.io/userVolumeMount": json.dumps(
                [{"name": "till", "mountPath": "/etc/till"}]
            ),
        },
    },
    "spec": {"containers": [{"name": "c", "image": "curl"}]},
}


class Till:
    """A client of the vault whose proxy has its certificates in files."""

    def __init__(self, vault: Vault) -> None:
        self.vault, self.mesh = vault, vault.mesh
        self.fill(vault.first)
        self.mesh.apply(json.dumps(TILL))
        ready = ("--for=condition=Ready", "--timeout=60s")
        self.mesh.kubectl("wait", "pod/till", "-n", NAMESPACE, *ready)

    def fill(self, own: Any, **others: str) -> None:
        """Replace the Secret that is mounted: a certificate of one's own, and roots."""
        data = {"tls_crt": own.certificate, "tls_key": own.key}
        roots = {"ca_crt": self.vault.server.certificate}
        self.mesh.apply(json.dumps(secret("till", **(data | roots | others))))

    def rule(self, **files: str) -> None:
        """Have the till call the vault with TLS and what is in its files."""
        usual = {
            "clientCertificate": "tls.crt",
            "privateKey": "tls.key",
            "caCertificates": "ca.crt",
        }
        paths = {field: f"/etc/till/{name}" for field, name in (usual | files).items()}
        tls = {"mode": "MUTUAL", "subjectAltNames": ["vault"], **paths}
        obj = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "till", "namespace": NAMESPACE},
            "spec": {
                "host": "vault",
                "trafficPolicy": {"tls": tls},
                "workloadSelector": {"matchLabels": {"app": "till"}},
            },
        }
        self.mesh.apply(json.dumps(obj))

    def call(self) -> str:
        return self.vault.call("till")

    def condition(self, kind: str) -> Any:
        """Return a condition of the rule."""
        status = self.mesh.get("dr", "till", "-n", NAMESPACE).get("status") or {}
        found = (one for one in status.get("conditions") or () if one["type"] == kind)
        return next(found, {"reason": "", "message": ""})

    def is_refused(self, kind: str = "InForce") -> bool:
        return bool(self.condition(kind)["reason"] == "RejectedByProxy")

    def is_in_force(self) -> bool:
        return bool(self.condition("InForce").get("status") == "True")


@pytest.fixture(scope="module")
def till(vault: Vault) -> Till:
    return Till(vault)


def test_a_file_that_comes_later_puts_the_rule_into_force(till: Till) -> None:
    till.rule(caCertificates="late.crt")
    eventually(lambda: till.is_refused("Accepted"), "the file is not there")
    assert "/etc/till/late.crt" in till.condition("InForce")["message"]

    till.fill(till.vault.first, late_crt=till.vault.server.certificate)

    eventually(till.is_in_force, "the file is there")
    eventually(lambda: till.call() == "first", "the vault knows the client")


def test_another_certificate_in_the_files_is_shown_without_a_restart(till: Till) -> None:
    till.rule()
    eventually(lambda: till.call() == "first", "the vault knows the client")

    till.fill(till.vault.second)

    eventually(lambda: till.call() == "second", "the vault knows the client by its new name")
    pod = till.mesh.get("pod", "till", "-n", NAMESPACE)
    (proxy,) = (
        one
        for one in pod["status"]["containerStatuses"]
        + pod["status"].get("initContainerStatuses", [])
        if one["name"] == "istio-proxy"
    )
    assert proxy["restartCount"] == 0


def test_other_roots_in_the_files_are_gone_by_without_a_restart(till: Till) -> None:
    till.rule()
    till.fill(till.vault.first)
    eventually(lambda: till.call() == "first", "the vault is who the roots say")

    till.fill(till.vault.first, ca_crt=till.vault.second.certificate)
    eventually(lambda: till.call() == "503", "the vault is not who the roots say")

    till.fill(till.vault.first)
    eventually(lambda: till.call() == "first", "and then it is")


def test_a_broken_new_version_of_a_file_is_named_and_the_last_good_one_stays(till: Till) -> None:
    till.rule()
    till.fill(till.vault.first)
    eventually(till.is_in_force, "all is well")
    eventually(lambda: till.call() == "first", "the vault knows the client")

    till.fill(till.vault.second, tls_crt="no certificate")

    eventually(till.is_refused, "the status says that the proxy refuses it")
    assert "/etc/till/tls.crt" in till.condition("InForce")["message"]
    named_everywhere(till.mesh, "/etc/till/tls.crt")
    log = till.mesh.kubectl("logs", "-n", "istio-system", "deploy/istiod").stdout
    assert till.vault.second.key.splitlines()[1] not in log
    assert till.call() == "first"
    assert till.condition("Accepted")["status"] == "True"

    # A control plane that has never seen the good version does not take it away either.
    istiod = ("-n", "istio-system", "deploy/istiod")
    till.mesh.kubectl("rollout", "restart", *istiod)
    till.mesh.kubectl("rollout", "status", *istiod, "--timeout=60s")
    eventually(
        lambda: "/etc/till" in till.mesh.kubectl("logs", *istiod).stdout, "it is refused again"
    )
    eventually(till.is_refused, "and the status says so")
    assert till.condition("Accepted")["status"] == "True"
    assert till.call() == "first"

    till.fill(till.vault.second)
    eventually(till.is_in_force, "it is repaired")
    eventually(lambda: till.call() == "second", "the vault knows the client by its new name")
