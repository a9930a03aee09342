"""docs/saga.md is what the code does."""

from order_service.checkout import State
from order_service.diagram import ARCHITECTURE, LIVE, PAGE, page, with_picture

CURRENT = page()


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == CURRENT, "run `python -m order_service.diagram`"


def test_the_picture_on_the_page_about_the_architecture_is_current() -> None:
    text = ARCHITECTURE.read_text()
    assert with_picture(text) == text, "run `python -m order_service.diagram`"


def test_every_state_can_be_reached() -> None:
    for state in State:
        assert any(line.split(" | ")[1] == f"`{state}`" for line in rows()), state


def test_every_state_can_be_left_but_rejected() -> None:
    for state in set(State) - {State.REJECTED}:
        assert any(line.startswith(f"| `{state}` ") for line in rows()), state


def test_an_attempt_is_drawn_in_one_box() -> None:
    box = CURRENT[CURRENT.index("as live {") : CURRENT.index("    }\n")]
    assert all(state in box for state in LIVE)


def rows() -> list[str]:
    return [line for line in CURRENT.splitlines() if line.startswith("| ")][1:]
