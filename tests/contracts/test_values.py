"""Quick values are what frozen dataclasses are, in every respect but the time they take."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field
from functools import cached_property

import pytest

from contracts.values import NotQuick, quick, replace


@quick
@dataclass(frozen=True, slots=True)
class Level:
    """With slots, a default and a check."""

    place: str
    pieces: int = 0

    def __post_init__(self) -> None:
        if self.pieces < 0:
            raise ValueError(self.pieces)


@quick
@dataclass(frozen=True, slots=True)
class Shelf(Level):
    """With slots of its own below those of another."""

    row: int = 1


@quick
@dataclass(frozen=True)
class Room:
    """Without slots, so that it can keep what was computed once."""

    levels: tuple[Level, ...]

    @cached_property
    def pieces(self) -> int:
        return sum(level.pieces for level in self.levels)


def test_it_takes_what_a_dataclass_takes() -> None:
    assert str(inspect.signature(Level)) == "(place, pieces=0)"
    assert Level("a", 2) == Level(place="a", pieces=2) != Level("a")
    assert hash(Level("a")) == hash(Level("a", 0))
    assert repr(Shelf("a", 2)) == "Shelf(place='a', pieces=2, row=1)"
    assert asdict(Shelf("a", row=3)) == {"place": "a", "pieces": 0, "row": 3}
    with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required"):
        Level()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "value",
    [Level("a"), Shelf("a"), Room(()), replace(Shelf("a"), row=2), replace(Room(()), levels=())],
)
def test_it_cannot_be_changed(value: object) -> None:
    name = next(iter(inspect.signature(type(value)).parameters))
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "b")
    with pytest.raises(FrozenInstanceError):
        delattr(value, name)
    with pytest.raises((FrozenInstanceError, TypeError)):
        value.other = 1  # type: ignore[attr-defined]


def test_the_next_value_leaves_the_one_before_as_it_was() -> None:
    first = Shelf("a", 1)
    second = replace(first, pieces=2, row=5)
    assert (type(second), second) == (Shelf, Shelf("a", 2, 5))
    assert first == Shelf("a", 1, 1)
    with pytest.raises(AttributeError):
        replace(first, colour="red")  # type: ignore[call-arg]


def test_each_value_has_a_default_of_its_own_where_one_is_made() -> None:
    @quick
    @dataclass(frozen=True, slots=True)
    class Filled:
        numbers: list[int] = field(default_factory=list)

    one, other = Filled(), Filled()
    assert one.numbers == other.numbers == []
    assert one.numbers is not other.numbers
    assert Filled([1]).numbers == [1]


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


def test_only_frozen_dataclasses_with_plain_fields_can_be_quick() -> None:
    @dataclass
    class Thawed:
        number: int

    @dataclass(frozen=True)
    class Derived:
        number: int = field(init=False, default=1)

    for kind in (Thawed, Derived):
        with pytest.raises(NotQuick, match=kind.__name__):
            quick(kind)
