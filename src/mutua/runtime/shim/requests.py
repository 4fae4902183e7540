"""What a peer may ask of the shim, and what does it: the table of operations."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mutua.foundation.errors import Rejected, Unavailable
from mutua.runtime.shim.connection import Connection
from mutua.runtime.shim.executions import Executions, command_of
from mutua.runtime.shim.protocol import Message
from mutua.runtime.shim.table import Answer, Table
from mutua.runtime.spec import spec_from_json


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        message: As received.
        peer: Who asks.
        descriptors: What came with it; closed by the caller afterwards.
    """

    message: Message
    peer: Connection
    descriptors: Sequence[int]


class Requests:
    """Performs requests.

    Attributes:
        is_closing: Whether nothing new may be started.
    """

    def __init__(
        self, table: Table, executions: Executions, shut_down: Callable[[float], None]
    ) -> None:
        self.is_closing = False
        self._table = table
        self._executions = executions
        self._shut_down = shut_down

    def perform(self, request: Request, answer: Answer) -> None:
        """Do what is asked; `answer` is called now or later, unless this raises.

        Raises:
            MutuaError: The answer is a refusal.
        """
        message, peer = request.message, request.peer
        if self.is_closing and message.get("op") in {"start", "exec"}:
            raise Unavailable("the mesh is shutting down")
        match message:
            case {"op": "start", "spec": spec}:
                self._table.start(spec_from_json(spec), answer)
            case {"op": "exec", "container": identifier}:
                self._exec(request, identifier, answer)
            case {"op": "signal", "container": identifier, "signal": signum}:
                self._table.signal(identifier, signum)
                answer(None)
            case {"op": "signal-exec", "exec": identifier, "signal": signum}:
                self._executions.signal(identifier, signum, peer)
                answer(None)
            case {"op": "remove", "container": identifier}:
                self._table.remove(identifier)
                answer(None)
            case {"op": "containers"}:
                answer([asdict(state) for state in self._table.states()])
            case {"op": "shutdown", "grace": float() | int() as grace}:
                self._shut_down(grace)
                answer(None)
            case _:
                raise Rejected(f"unknown request {message.get('op')!r}")

    def _exec(self, request: Request, identifier: object, answer: Answer) -> None:
        container = self._table.running(identifier)
        with open("/dev/null", "rb") as null:  # noqa: PTH123 - pathlib costs memory
            command = command_of(request.message, container, request.descriptors, null.fileno())
            self._executions.start(container, command, request.peer, answer)
