"""Make a thing once: values remembered by what they were made from."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from mutua.xds.resource import Layer, Resource

T = TypeVar("T")


class Memo:
    """Remembers what the present and the last generation used, and nothing older.

    A generation is one pass over everything that is still wanted, so what nobody wants any more
    is forgotten without anybody saying so.
    """

    def __init__(self) -> None:
        self._now: dict[Hashable, Any] = {}
        self._before: dict[Hashable, Any] = {}

    def turn(self) -> None:
        """Begin a generation."""
        self._now, self._before = {}, self._now

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value for a key.

        Args:
            key: Everything the value depends on, tagged with what kind of value it is.
            make: Called when neither generation has the value.
        """
        value = self._now.get(key)
        if value is None:
            value = self._before.get(key)
            self._now[key] = value = make() if value is None else value
        return value


def layer(resources: Iterable[Resource], previous: Layer | None) -> Layer:
    """Return a layer of these resources: the previous one when it holds the same objects.

    Of several resources with one name the first counts.
    """
    by_name: dict[str, Resource] = {}
    for one in resources:
        by_name.setdefault(one.name, one)
    if (
        previous is not None
        and len(previous) == len(by_name)
        and all(previous.get(name) is one for name, one in by_name.items())
    ):
        return previous
    return Layer(by_name.values())
