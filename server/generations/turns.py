"""The turn of a generation: its place in the fair order, given to it when it is submitted.

Start-time fair queueing: in each round every user who waits has one turn. So a claim reads the least turn
from an index, and nothing else has to be kept. Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", 1996.

A turn is a number of seconds since 1970, as what is submitted to an empty queue has its time as its turn.
"""

from dataclasses import dataclass
from typing import Final

TURN_S: Final = 600.0
"""What one image moves its user's next turn back by."""
HAIR_S: Final = 0.001  # so that in a round those go first of whose users nothing waits before them
STEP_S: Final = TURN_S + HAIR_S
"""How far apart the turns of one user's waiting generations are."""
AGEING_S: Final = 600.0
"""How long after its turn newcomers can still overtake a generation, however slowly the queue moves."""


@dataclass(frozen=True)
class Standing:
    """What decides the turn of a user's next generation of a model. None: there is none.

    drawn_of_model: the last turn among those of the model that are being drawn, without those that ride
    along. front_of_model: the first among those that wait. drawn: as the first, of all models.
    ridden_of_model: as the first, with those that ride along. own_waiting: the last among the user's own
    that wait for the model. own_last: the turn of the newest that the user submitted.
    """

    drawn_of_model: float | None = None
    front_of_model: float | None = None
    drawn: float | None = None
    own_waiting: float | None = None
    own_last: float | None = None
    ridden_of_model: float | None = None


def turn_of(standing: Standing, moment_s: float) -> float:
    """Return the turn of a generation that is submitted at a moment.

    It is one step after the user's own last one that waits. Without one it is in the round that is being
    drawn, or in the next one if the user was served in this round.
    """
    begin = max(_begin(standing, moment_s), moment_s - AGEING_S)
    if standing.own_waiting is not None:
        return max(begin, standing.own_waiting + STEP_S)
    if standing.own_last is None:
        return begin
    return min(max(begin, standing.own_last + TURN_S), begin + TURN_S)


def _begin(standing: Standing, moment_s: float) -> float:
    """Return the turn with which the round of the model begins that is being drawn."""
    drawn, front = standing.drawn_of_model, standing.front_of_model
    if drawn is not None and front is not None:
        # Beyond one step what is drawn is of a past round: it had been returned to the queue, or the rounds
        # between the two ride along with it.
        ridden = drawn if standing.ridden_of_model is None else standing.ridden_of_model
        return next((turn for turn in (drawn, ridden) if front <= turn + STEP_S + HAIR_S), front)
    known = (drawn, front, standing.drawn, moment_s)
    return next(turn for turn in known if turn is not None)
