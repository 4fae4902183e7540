"""Run `async def` tests: in virtual time under tests/unit, on the ordinary loop elsewhere."""

import asyncio
import inspect
import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from mutua.testing import virtual_time

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
