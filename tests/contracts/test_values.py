"""Values are frozen, and the next one leaves the one before as it was."""

import copy
import pickle
from functools import cached_property

import pytest

from contracts.values import Struct, asdict, replace


class Level(Struct, frozen=True):
    """With a default and a check."""

    place: str
    pieces: int = 0

    def __post_init__(self) -> None:
        if self.pieces < 0:
            raise ValueError(self.pieces)


class Shelf(Level, frozen=True):
    """With fields of its own below those of another."""

    row: int = 1


class Room(Struct, frozen=True, dict=True):
    """Keeps what was computed once."""

    levels: tuple[Level, ...]

    @cached_property
    def pieces(self) -> int:
        return sum(level.pieces for level in self.levels)


def test_it_is_what_its_fields_are() -> None:
    assert Level("a", 2) == Level(place="a", pieces=2) != Level("a")
    assert hash(Level("a")) == hash(Level("a", 0))
    assert Level("a", 0) != Shelf("a", 0)
    assert asdict(Shelf("a", row=3)) == {"place": "a", "pieces": 0, "row": 3}
    with pytest.raises(TypeError, match="place"):
        Level()  # type: ignore[call-arg]


@pytest.mark.parametrize("value", [Level("a"), Shelf("a"), Room(()), replace(Shelf("a"), row=2)])
def test_it_cannot_be_changed(value: Struct) -> None:
    name = value.__struct_fields__[0]
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, name, "b")
    with pytest.raises(AttributeError, match="immutable"):
        delattr(value, name)


def test_the_next_value_leaves_the_one_before_as_it_was() -> None:
    first = Shelf("a", 1)
    second = replace(first, pieces=2, row=5)
    assert (type(second), second) == (Shelf, Shelf("a", 2, 5))
    assert first == Shelf("a", 1, 1)
    with pytest.raises(TypeError, match="colour"):
        replace(first, colour="red")  # type: ignore[call-arg]


def test_what_is_wrong_does_not_come_to_be() -> None:
    with pytest.raises(ValueError, match="-1"):
        Level("a", -1)
    with pytest.raises(ValueError, match="-1"):
        replace(Shelf("a"), pieces=-1)


def test_what_was_computed_once_is_computed_anew_for_the_next_value() -> None:
    room = Room((Level("a", 1),))
    assert room.pieces == 1
    assert replace(room, levels=(Level("a", 2),)).pieces == 2


def test_it_can_be_copied_and_pickled() -> None:
    shelf = Shelf("a", 2)
    pickled = pickle.dumps(shelf)
    assert copy.copy(shelf) == copy.deepcopy(shelf) == shelf
    assert pickle.loads(pickled) == shelf  # noqa: S301 - made above
