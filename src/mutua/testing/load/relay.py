"""Between an Envoy and the control plane: delay what it confirms, or cut it off.

The proxy's socket is moved aside, and this listens in its place.  Envoy comes over when it next
connects, that is when it is restarted.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

CHUNK: Final = 65536


class Relay:
    """One proxy's way to the control plane.

    Attributes:
        delay: Seconds by which everything the proxy says arrives later.
    """

    def __init__(self, path: Path) -> None:
        """Take the place of the socket at `path`."""
        self.delay = 0.0
        self._is_cut = False
        self._path, self._real = path, path.with_name("real")
        self._links: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server: asyncio.Server = self._do(self._listen())

    def cut(self) -> None:
        """Break every connection, and take no new ones."""
        self._is_cut = True
        self._do(self._break())

    def mend(self) -> None:
        """Let the proxy connect again."""
        self._is_cut = False

    def stop(self) -> None:
        """Let the proxy talk to the control plane itself."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _listen(self) -> asyncio.Server:
        self._path.rename(self._real)
        server = await asyncio.start_unix_server(self._relay, self._path)
        self._path.chmod(0o600)
        return server

    async def _end(self) -> None:
        self._server.close()
        self._real.rename(self._path)
        await self._break()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _break(self) -> None:
        for writer in self._links:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        from_plane, to_plane = await asyncio.open_unix_connection(self._real)
        ends = {writer, to_plane}
        self._links |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, to_plane, is_late=True))
                group.create_task(self._copy(from_plane, writer, is_late=False))
        except* ConnectionError:
            pass  # it was cut
        finally:
            self._links -= ends
            for end in ends:
                end.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_late: bool
    ) -> None:
        """Copy until either side ends, each chunk when it is due."""
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                when, chunk = await due.get()
                await asyncio.sleep(when - self._loop.time())
                if not chunk:
                    raise ConnectionAbortedError
                writer.write(chunk)
                await writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            is_open = True
            while is_open:
                chunk = b""
                with suppress(ConnectionError):
                    chunk = await reader.read(CHUNK)
                is_open = bool(chunk)
                due.put_nowait((self._loop.time() + (self.delay if is_late else 0.0), chunk))
