"""The simulated world in slices of time, so that a service in front of it can change while its users live on."""

import heapq
from collections import deque
from dataclasses import dataclass, field

from jobs.world.hearing import Ear
from jobs.world.people import Person, make_person
from jobs.world.simulator import DAY_S, Simulation, Turn

PAUSE_S = 1800.0
"""Between two sessions of one user, at least."""


@dataclass
class _Life:
    person: Person
    ear: Ear
    starts: deque[float] = field(default_factory=deque)
    now: float = 0.0


class LivingWorld:
    """Users of a `Simulation` whose turns are played in order of time, a slice at a time."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.people: dict[str, Person] = {}
        self._lives: list[_Life] = []
        self._days = 0
        self._rows = 0
        for number in range(world.settings.users):
            person = make_person(number, world.offer, world.voices, world.dice)
            self.people[person.user_id] = person
            self._lives.append(_Life(person, world.ear(person)))

    def play(self, until_s: float) -> list[Turn]:
        """The turns of the sessions that begin before `until_s` and were not played yet, in order of time."""
        while self._days * DAY_S < until_s:
            for life in self._lives:
                life.starts.extend(self.world.session_starts(life.person, range(self._days, self._days + 1)))
            self._days += 1
        waiting = [(life.starts[0], row) for row, life in enumerate(self._lives) if life.starts]
        heapq.heapify(waiting)
        turns: list[Turn] = []
        while waiting and waiting[0][0] < until_s:
            life = self._lives[waiting[0][1]]
            played, life.now = self.world.session(life.person, life.ear, max(life.starts.popleft(), life.now + PAUSE_S))
            turns += played
            if life.starts:
                heapq.heapreplace(waiting, (life.starts[0], waiting[0][1]))
            else:
                heapq.heappop(waiting)
        turns.sort(key=lambda turn: (turn.asked.seconds, turn.asked.user_id))
        for turn in turns:
            turn.row, self._rows = self._rows, self._rows + 1
        return turns
