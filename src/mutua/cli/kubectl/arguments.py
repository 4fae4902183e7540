"""What does a kubectl argument mean?  `deploy/web`, `pods web-1 web-2`, `pa --all`.

Names of kinds are those the API publishes: plural, singular, short name, kind, each also with its
group appended after a dot, in any case.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mutua.api.kinds import KINDS, Kind
from mutua.foundation.errors import Rejected


@dataclass(frozen=True, slots=True)
class Target:
    """One kind, and the names asked for; no names means all."""

    kind: Kind
    names: tuple[str, ...] = ()


def parse_kind(word: str) -> tuple[Kind, ...]:
    """Return the kinds that a word means: one, or the members of a category.

    Raises:
        Rejected: The API has no such kind.
    """
    lowered = word.lower()
    for kind in KINDS:
        names = {kind.resource.plural, kind.singular, kind.kind.lower(), *kind.short_names}
        group = kind.resource.group
        if lowered in names or (group and lowered in {f"{name}.{group}" for name in names}):
            return (kind,)
    members = tuple(kind for kind in KINDS if lowered in kind.categories)
    if not members:
        raise Rejected(f'the server doesn\'t have a resource type "{word}"')
    return members


def parse_targets(arguments: Sequence[str]) -> list[Target]:
    """Read TYPE, TYPE NAME…, TYPE/NAME… and TYPE,TYPE.

    Raises:
        Rejected: Unknown type, or the two forms mixed.
    """
    if not arguments:
        raise Rejected("you must specify the type of resource, such as: pods")
    if any("/" in argument for argument in arguments):
        return [_slashed(argument) for argument in arguments]
    kinds = [kind for word in arguments[0].split(",") for kind in parse_kind(word)]
    return [Target(kind, tuple(arguments[1:])) for kind in kinds]


def _slashed(argument: str) -> Target:
    word, slash, name = argument.partition("/")
    if not slash or not name:
        raise Rejected(
            "there is no need to specify a resource type as a separate argument when passing "
            f"arguments in resource/name form (see: {argument})"
        )
    kinds = parse_kind(word)
    if len(kinds) != 1:
        raise Rejected(f"{word!r} is a category; name one type")
    return Target(kinds[0], (name,))


def qualified(kind: Kind, name: str) -> str:
    """Return `deployment.apps/web`, as kubectl names an object."""
    group = f".{kind.resource.group}" if kind.resource.group else ""
    return f"{kind.singular}{group}/{name}"
