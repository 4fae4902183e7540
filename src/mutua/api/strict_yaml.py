"""YAML as people write settings, read without surprises: text in, JSON values out.

YAML forgives what a person would want to know: of two equal keys the last one silently wins, and
an alias may stand for a value somewhere else (or, nested, for gigabytes).  Both are errors here,
with the path of the key.
"""

from collections.abc import Iterator
from typing import Any, Final

import yaml
from typing_extensions import override

from mutua.api.shape import child
from mutua.api.verdict import ErrorType, FieldError, Invalid, duplicate, invalid

MAX_DEPTH: Final = 32
"""Levels of nesting; settings need five."""


class _Loader(yaml.SafeLoader):
    @override
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            mark: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=mark)
        return super().compose_node(parent, index)


def read_yaml(text: str, path: str = "") -> Any:
    """Return the one document in a text.

    Args:
        text: The text; an empty one is None.
        path: Where the text stands, for messages.

    Raises:
        Invalid: It is not YAML, or not YAML that everybody reads alike.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        errors = [*_errors(node, path, MAX_DEPTH)]
        if errors:
            raise Invalid(errors)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise Invalid([FieldError(path, ErrorType.INVALID, detail=_where(error))]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        detail = f"not YAML: {str(error).splitlines()[0]}"
        raise Invalid([FieldError(path, ErrorType.INVALID, detail=detail)]) from error
    finally:
        loader.dispose()


def _where(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"not YAML: {place}{error.problem or error.context}"


def _errors(node: yaml.Node, path: str, depth: int) -> Iterator[FieldError]:
    if depth == 0:
        yield FieldError(path, ErrorType.INVALID, detail="nested too deeply")
        return
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _errors(item, f"{path}[{index}]", depth - 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                yield FieldError(path, ErrorType.INVALID, detail="a key must be a name")
                continue
            where = child(path, key.value)
            if key.tag != "tag:yaml.org,2002:str":
                yield invalid(where, key.value, "a key must be a name")
            if key.value in seen:
                yield duplicate(where, key.value)
            seen.add(key.value)
            yield from _errors(value, where, depth - 1)
