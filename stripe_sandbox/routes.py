"""Which operation a method and a path name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stripe_sandbox.errors import UnknownUrl
from stripe_sandbox.operations import Operation
from stripe_sandbox.resources import OPERATIONS


@dataclass(frozen=True, slots=True)
class Route:
    """An operation, its name (`POST /v1/refunds/{refund}`), and what stands for the braces."""

    name: str
    operation: Operation
    ids: Mapping[str, str]


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


_PLAIN: dict[tuple[str, tuple[str, ...]], str] = {}
_WITH_IDS: dict[tuple[str, int], list[tuple[tuple[str, ...], str]]] = {}
for _name in OPERATIONS:
    _method, _path = _name.split(" ")
    if "{" in _path:
        _WITH_IDS.setdefault((_method, len(_parts(_path))), []).append((_parts(_path), _name))
    else:
        _PLAIN[_method, _parts(_path)] = _name


def route_of(method: str, path: str) -> Route:
    """The operation that is asked for. Raises UnknownUrl."""
    parts = _parts(path)
    name = _PLAIN.get((method, parts))
    if name is not None:
        return Route(name, OPERATIONS[name], {})
    for template, name in _WITH_IDS.get((method, len(parts)), ()):
        pairs = list(zip(template, parts, strict=True))
        if all(wanted == part or wanted.startswith("{") for wanted, part in pairs):
            return Route(name, OPERATIONS[name], dict(_ids(pairs)))
    raise UnknownUrl(method, path)


def _ids(pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for wanted, part in pairs:
        if wanted.startswith("{"):
            yield wanted[1:-1], part
