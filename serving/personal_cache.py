"""Users' own texts, the ones asked for lately kept decoded, and none of a user who is to be forgotten."""

from collections.abc import Collection
from typing import Protocol

from rewrite.spaces import Own
from serving.lru import Lru


class Personal(Protocol):
    """What belongs to each user."""

    def of(self, user_id: str | None) -> Own:
        """What belongs to `user_id`."""


class PersonalCache:
    """A store of users' own texts behind a bounded cache."""

    def __init__(self, store: Personal, limit: int) -> None:
        self._store = store
        self._kept: Lru[str, Own] = Lru(limit)
        self._hidden: Collection[str] = ()

    def hide(self, users: Collection[str]) -> None:
        """From now on these users have nothing of their own."""
        self._hidden = users
        self._kept.clear()

    def of(self, user_id: str | None) -> Own:
        """What belongs to `user_id`; empty for a user without history or to be forgotten."""
        if user_id is None or user_id in self._hidden:
            return Own()
        own = self._kept.get(user_id)
        if own is None:
            own = self._store.of(user_id)
            self._kept.put(user_id, own)
        # a user hidden between the look and the answer
        return Own() if user_id in self._hidden else own
