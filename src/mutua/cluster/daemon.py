"""The daemon's life: enter the mesh's namespaces, run the mesh, leave the pods alone.

SIGTERM and SIGINT end the daemon, not the pods: they belong to the shim, keep running, and are
adopted by the next daemon.  `mutua down` ends both.
"""

import asyncio
import logging
import resource
import signal
import socket
from pathlib import Path

from mutua.cluster.progress import Progress
from mutua.cluster.settings import DaemonSettings
from mutua.foundation.errors import MutuaError
from mutua.identity.data_key import DataKey
from mutua.lifecycle.garbage import collect_seldom
from mutua.lifecycle.supervisor import Ready, supervise
from mutua.runtime.enter import enter_shim, shim_alive, start_shim
from mutua.telemetry.log import configure

log = logging.getLogger(__name__)


def run(
    settings: DaemonSettings,
    listener: socket.socket,
    progress: Progress,
    data_key: DataKey,
    *,
    log_file: Path | None = None,
) -> int:
    """Serve the mesh until told to stop; return the exit status.

    Args:
        settings: What `mutua up` decided.
        listener: The API's, already listening in the caller's network.
        progress: Told every step, readiness, and why there is none.
        data_key: Opens what is sealed at rest.
        log_file: Where the log goes; stderr when None.
    """
    configure(settings.log_level, file=log_file)
    try:
        if not shim_alive(settings.layout):
            progress.step("creating namespaces")
            start_shim(settings.layout, python=settings.python)
        # Before anything that might start a thread: setns(2) refuses threads.
        enter_shim(settings.layout)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys are not to be dumped
        collect_seldom()
        asyncio.run(_serve(settings, listener, progress, data_key))
    except Exception as error:
        first = _first(error)
        is_expected = isinstance(first, MutuaError)
        log.exception(
            "the mesh ended",
            extra={"reason": str(first)},
            exc_info=None if is_expected else error,
        )
        progress.failed(first)
        return 1 if is_expected else 70
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(
    settings: DaemonSettings, listener: socket.socket, progress: Progress, data_key: DataKey
) -> None:
    # These imports are most of the start-up time, and some start threads: only now.
    from mutua.cluster.composition import Mesh, Outside
    from mutua.foundation.clock import SystemClock
    from mutua.runtime.network.node import NodeNetwork
    from mutua.runtime.shim.client import ShimClient
    from mutua.store.sqlite import SqliteStore

    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    layout = settings.layout
    sealer = data_key.sealer()
    store = SqliteStore(layout.database, SystemClock(), sealing=sealer)
    shim = await ShimClient.connect(layout.shim_socket)
    network = NodeNetwork(layout.netns)
    try:
        await network.start()
        mesh = Mesh(settings, Outside(listener, store, shim, network, sealer))
        services = dict(mesh.services(progress.step))

        async def announce(ready: Ready) -> None:
            host, port = listener.getsockname()
            log.info("mesh is up", extra={"mesh": layout.name, "port": port})
            progress.ready(server=f"https://{host}:{port}")
            ready()
            await asyncio.Event().wait()

        services["announcement"] = announce
        await supervise(services, stop=stop)
    finally:
        await network.stop()
        await shim.close()
        store.close()
