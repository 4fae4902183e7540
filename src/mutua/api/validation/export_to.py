"""exportTo: which namespaces see a DestinationRule or a ServiceEntry.

    "."  its own namespace     "*"  all, alone     "~"  nobody, alone     a name  that namespace

Source: Istio `validateExportTo`.
"""

from collections.abc import Iterator, Sequence

from mutua.api.validation.names import dns_label, name_errors
from mutua.api.verdict import FieldError, duplicate, invalid


def export_errors(
    path: str, targets: Sequence[str], namespace: str, *, allow_nobody: bool = False
) -> Iterator[FieldError]:
    """Yield what is wrong with an `exportTo`.

    Args:
        path: Of the field.
        targets: As written.
        namespace: Of the object.
        allow_nobody: Whether "~" has a meaning for the kind.
    """
    alone = ("*", "~") if allow_nobody else ("*",)
    named = [namespace if target == "." else target for target in targets]
    for index, target in enumerate(named):
        if target in named[:index]:
            yield duplicate(f"{path}[{index}]", targets[index])
        elif target not in alone:
            yield from name_errors(f"{path}[{index}]", target, dns_label)
    for sign in alone:
        if sign in targets and len(targets) > 1:
            yield invalid(path, list(targets), f"'{sign}' cannot be combined with other namespaces")
