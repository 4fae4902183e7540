"""Which objects of a collection does the client mean (?labelSelector, ?fieldSelector)?"""

from dataclasses import dataclass

from mutua.api.object import Object
from mutua.api.selectors import (
    FieldSelector,
    LabelSelector,
    parse_field_selector,
    parse_label_selector,
)
from mutua.cluster.apiserver.message import Request


@dataclass(frozen=True, slots=True)
class Selection:
    """Both selectors of a request."""

    labels: LabelSelector
    fields: FieldSelector

    def __contains__(self, obj: Object) -> bool:
        return self.labels.matches(obj["metadata"].get("labels")) and self.fields.matches(obj)


def selection_of(request: Request) -> Selection:
    """Return what a request selects.

    Raises:
        BadSelector: A selector is malformed.
    """
    return Selection(
        parse_label_selector(request.parameter("labelSelector")),
        parse_field_selector(request.parameter("fieldSelector")),
    )
