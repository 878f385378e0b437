from itertools import product

import pytest

from server.generations.states import LEGAL, IllegalTransition, Status, check

DIAGRAM = {
    ("pending", "processing"),
    ("pending", "failed"),
    ("processing", "pending"),
    ("processing", "completed"),
    ("processing", "failed"),
}


@pytest.mark.parametrize(("source", "target"), list(product(Status, Status)))
def test_only_arrows_of_the_diagram_are_legal(source, target):
    """A transition is legal exactly if the diagram in docs/architecture.md has its arrow."""
    if (source.value, target.value) in DIAGRAM:
        check(source, target)
    else:
        with pytest.raises(IllegalTransition):
            check(source, target)


def test_every_status_has_its_row():
    """The table has a row for every status, and the two final ones allow no transition."""
    assert set(LEGAL) == set(Status)
    assert LEGAL[Status.COMPLETED] == LEGAL[Status.FAILED] == set()


def test_an_illegal_transition_names_both_ends():
    """The error says what status was to be left for what other one, in its message and by itself."""
    with pytest.raises(IllegalTransition) as refused:
        check(Status.COMPLETED, Status.PENDING)
    assert (refused.value.source, refused.value.target) == (Status.COMPLETED, Status.PENDING)
    assert str(refused.value) == "a generation cannot go from completed to pending"
