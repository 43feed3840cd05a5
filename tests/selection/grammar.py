"""Labelled utterances from a small grammar, and a model trained on them in a second or two."""

from functools import cache
from itertools import product

import torch

from selection.encoder import CompactConfig, CompactEncoder
from selection.examples import Utterance
from selection.labels import Labels
from selection.model import Nlu
from selection.training import TrainingConfig, train

SONGS = ("blue monday", "hello", "the night", "red sun")
ARTISTS = ("mika", "the band", "adele")
ROOMS = ("kitchen", "hall", "bed room")
TIMES = ("five", "seven", "noon")


def utterances() -> list[Utterance]:
    """Five intents of three domains, with slots."""
    rows = [
        Utterance(f"{verb} {song} by {artist}", "music", "play", (("song", song), ("artist", artist)))
        for verb, song, artist in product(("play", "put on"), SONGS, ARTISTS)
    ]
    rows += [
        Utterance(f"turn {way} the light in the {room}", "home", f"light_{way}", (("room", room),))
        for way, room in product(("on", "off"), ROOMS)
    ]
    rows += [Utterance(f"wake me at {time}", "alarm", "alarm_set", (("time", time),)) for time in TIMES]
    rows += [Utterance(text, "alarm", "alarm_stop") for text in ("stop the alarm", "be quiet", "silence please")]
    return rows


def tiny_encoder(dropout: float = 0.0, members: int = 2) -> CompactEncoder:
    """An encoder of a few thousand parameters."""
    return CompactEncoder(CompactConfig(buckets=512, embedding=16, width=16, dropout=dropout, members=members))


def untrained(seed: int = 0) -> Nlu:
    """Random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Nlu.build(Labels.of(utterances()), tiny_encoder(), seed).eval()


@cache
def trained() -> Nlu:
    """Trained on the whole grammar; shared, so do not change it."""
    model = untrained()
    train(model, utterances(), TrainingConfig(epochs=40, batch_rows=16, learning_rate=1e-2, warmup_steps=5))
    return model
