"""Run `async def` tests: in virtual time under tests/unit, on the ordinary loop elsewhere."""

import asyncio
import inspect
from pathlib import Path

import pytest

from mutua.testing import virtual_time

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
