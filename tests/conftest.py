"""Run `async def` tests: in virtual time under tests/unit, on the ordinary loop elsewhere."""

import asyncio
import inspect
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mutua.testing import virtual_time
from mutua.testing.reachability.landscape import Credential

# No example database: the suite also passes in a checkout that its user cannot write to, and a
# failure prints what reproduces it instead.  How fast a busy machine draws examples says nothing
# about the code.
PROFILE: Any = {
    "database": None,
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
}
hypothesis.settings.register_profile("fast", **PROFILE)
hypothesis.settings.register_profile("deep", max_examples=5000, **PROFILE)
hypothesis.settings.load_profile("deep" if "MUTUA_DEEP" in os.environ else "fast")

UNIT = Path(__file__).parent / "unit"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    main = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if UNIT in pyfuncitem.path.parents:
        virtual_time.run(main)
    else:
        with asyncio.Runner() as runner:
            runner.run(main)
    return True


def _self_signed(common_name: str) -> Credential:
    """Return a certificate that only those trust who know it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=24))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(common_name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, *form)
    shown = certificate.public_bytes(serialization.Encoding.PEM)
    return Credential(shown.decode(), pem.decode())


@pytest.fixture(scope="session")
def self_signed() -> Callable[[str], Credential]:
    """Return what makes a certificate, for a name, that only those trust who know it."""
    return _self_signed
