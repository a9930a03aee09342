"""Frozen dataclasses that are made as quickly as others.

The pure core does little else than make the next value out of the one before. A frozen dataclass
writes each field through `object.__setattr__`, and `dataclasses.replace` looks each up by name
and begins anew: together that was half of what a decision took.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dataclasses import replace as replace  # its arguments are checked as they always are
else:

    def replace(value, /, **changes):
        """`dataclasses.replace`, for quick values."""
        return value._replaced(changes)


T = TypeVar("T")


class NotQuick(TypeError):
    """Not a frozen dataclass, or one with fields that are not simply given by position."""


def quick(kind: type[T]) -> type[T]:
    """Decorate a frozen dataclass: the same values, made in a fraction of the time.

    A value begins as a draft, which is of another class with the same layout, and may be written
    until it is turned into what it is. `__post_init__` comes after that: it may check, not write.
    Raises `NotQuick`.
    """
    given = fields(kind)  # type: ignore[arg-type]  # what is none raises
    if not (kind.__dataclass_params__.frozen and all(map(_is_plain, given))):  # type: ignore[attr-defined]
        raise NotQuick(kind.__name__)
    names = [field.name for field in given]
    end = ["{0}.__class__ = _kind", *(["{0}.__post_init__()"] * hasattr(kind, "__post_init__"))]
    make = _maker(kind, given)
    kind.__init__ = make(  # type: ignore[method-assign]  # with the parameters that it had
        "__init__",
        ["self", *map(_parameter, given)],
        [
            "_thaw(self, '__class__', _draft)",
            *map(_assignment, given),
            *(line.format("self") for line in end),
        ],
    )
    kind._replaced = make(  # type: ignore[attr-defined]  # called above, by that name alone
        "_replaced",
        ["self", "changes"],
        [
            "copy = _new(_draft)",
            *(f"copy.{name} = self.{name}" for name in names),
            "for name in changes: setattr(copy, name, changes[name])",
            *(line.format("copy") for line in end),
            "return copy",
        ],
    )
    return kind


def _is_plain(field: Field[Any]) -> bool:
    return field.init and not field.kw_only


def _parameter(field: Field[Any]) -> str:
    return field.name if _is_required(field) else f"{field.name}=_default_{field.name}"


def _assignment(field: Field[Any]) -> str:
    name = field.name
    if field.default_factory is MISSING:
        return f"self.{name} = {name}"
    return f"self.{name} = _factory_{name}() if {name} is _default_{name} else {name}"


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


Make = Callable[[str, list[str], list[str]], Callable[..., Any]]
"""A function of this name, these parameters and this body."""


def _maker(kind: type[Any], given: Sequence[Field[Any]]) -> Make:
    layout = {name: value for name, value in vars(kind).items() if name == "__slots__"}
    draft = type(kind.__name__, kind.__bases__, {**layout, "__setattr__": object.__setattr__})
    known: dict[str, Any] = {
        "_draft": draft,
        "_kind": kind,
        "_new": object.__new__,
        "_thaw": object.__setattr__,
        **{f"_default_{field.name}": field.default for field in given},
        **{f"_factory_{field.name}": field.default_factory for field in given},
    }

    def make(name: str, parameters: list[str], body: list[str]) -> Callable[..., Any]:
        text = "\n ".join([f"def {name}({', '.join(parameters)}):", *body])
        exec(text, known)  # noqa: S102 - names of fields, as `dataclasses` itself does it
        function: Callable[..., Any] = known.pop(name)
        function.__qualname__ = f"{kind.__qualname__}.{name}"
        return function

    return make
