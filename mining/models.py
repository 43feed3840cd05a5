"""Trained models of follow-ups, read from JSON."""

import json

from mining.kinds import KindModel
from mining.likeness_model import LikenessModel

Model = KindModel | LikenessModel


def read(text: str) -> Model:
    """The model that either class wrote.

    Raises:
        KeyError, TypeError, ValueError: it is neither, or another version's.
    """
    return KindModel.from_json(text) if "trees" in json.loads(text) else LikenessModel.from_json(text)
