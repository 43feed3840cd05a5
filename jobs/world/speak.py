"""Give texts real recognition errors: flite speaks each, pocketsphinx writes down what it heard.

    python -m jobs.world.speak OUT.jsonl [--texts FILE...] [--voices slt rms awb] [--shard K/N] [--seed 0]

FILEs hold one text a line, or are parquet with a column `text` or `spoken`. Without `--texts` all that the demo's users
speak is spoken, its catalogue and what leaves out what the session makes plain: every text once by each voice, and a
third of the texts once more by one voice at another pace and noise (take 1), so that a simulated future can hold
recordings never heard before. Needs the Debian package `flite`. About .4 s of one core per recording; resumable: rows
already in OUT.jsonl are kept. One JSON line per recording: text, voice, take, stretch, snr_db, recognised, confidence
(0-1), nbest (up to 6 distinct texts, best first). The model is pocketsphinx's own English one.
"""

import argparse
import hashlib
import json
import subprocess
import tempfile
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

VOICES = ("slt", "rms", "awb")
RATE_HZ = 16000
CATALOGUE_SEED = 20260105
SECOND_TAKE_SHARE = 1 / 3


@dataclass(frozen=True)
class Recording:
    """One text to be spoken: pace (1 = the voice's own, larger = slower) and signal-to-noise ratio in dB."""

    text: str
    voice: str
    take: int
    stretch: float
    snr_db: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes a recording the same on a second run."""
        return self.text, self.voice, self.take


def _rng(seed: int, *parts: object) -> np.random.Generator:
    """Generator of one recording, the same whatever was spoken before it."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def plan(texts: Iterable[str], voices: tuple[str, ...], seed: int) -> Iterator[Recording]:
    """Every recording to make: each text once by each voice, and take 1 for a third of the texts in one voice.

    It goes in sweeps over all texts, so that a job stopped early has spoken every text about equally often.
    """
    spoken = list(texts)
    starts = {text: int(_rng(seed, text).integers(len(voices))) for text in spoken}
    for sweep in range(len(voices)):
        for text in spoken:
            yield _recording(text, voices[(starts[text] + sweep) % len(voices)], 0, seed)
        if sweep == 0:
            again = (text for text in spoken if _rng(seed, text, "again").random() < SECOND_TAKE_SHARE)
            yield from (_recording(text, voices[starts[text]], 1, seed) for text in again)


def _recording(text: str, voice: str, take: int, seed: int) -> Recording:
    rng = _rng(seed, text, voice, take)
    return Recording(text, voice, take, round(rng.uniform(0.95, 1.25), 2), round(rng.uniform(22, 45), 1))


def speak(recording: Recording, folder: Path) -> np.ndarray:
    """Waveform of a recording with its noise: int16, shape (samples,), 16 kHz. CalledProcessError if flite fails."""
    path = folder / "spoken.wav"
    pace = ["--setf", f"duration_stretch={recording.stretch:.2f}"]
    command = ["flite", "-voice", recording.voice, *pace, "-t", recording.text, "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with wave.open(str(path)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64)
        rate_hz = file.getframerate()
    return _with_noise(_resample(sound, rate_hz), recording)


def _resample(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    if rate_hz == RATE_HZ:
        return sound
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(sound, RATE_HZ, rate_hz))


def _with_noise(sound: np.ndarray, recording: Recording) -> np.ndarray:
    rng = _rng(0, "noise", *recording.key)
    padded = np.pad(sound, 2500)
    loudness = float(np.sqrt((padded**2).mean()))
    noisy = padded + rng.normal(0, loudness / 10 ** (recording.snr_db / 20), len(padded))
    return noisy.clip(-32768, 32767).astype(np.int16)


def recognise(decoder: Any, sound: np.ndarray) -> dict[str, Any]:
    """What the decoder hears: recognised text, confidence and the distinct best texts."""
    decoder.start_utt()
    decoder.process_raw(sound.tobytes(), full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    nbest: dict[str, None] = {}
    for found, _ in zip(decoder.nbest(), range(12), strict=False):
        nbest[found.hypstr] = None
    return {
        "recognised": best.hypstr if best else "",
        "confidence": float(best.prob) if best else 0.0,
        "nbest": list(nbest)[:6],
    }


def run(recordings: Iterable[Recording], out: Path) -> None:
    """Speak and recognise what is not yet in `out`, appending a line for each."""
    from pocketsphinx import Decoder

    done = set()
    if out.exists():
        rows = map(json.loads, out.read_text().splitlines())
        done = {(row["text"], row["voice"], row["take"]) for row in rows}
    # These three halve the time: no flat second search, fewer active models, every second frame scored in full.
    decoder = Decoder(samprate=RATE_HZ, loglevel="FATAL", fwdflat=False, maxhmmpf=3000, ds=2)
    with tempfile.TemporaryDirectory() as folder, out.open("a") as file:
        for recording in recordings:
            if recording.key not in done:
                heard = recognise(decoder, speak(recording, Path(folder)))
                file.write(json.dumps({**vars(recording), **heard}) + "\n")
                file.flush()


def catalogue_texts() -> list[str]:
    """Every text that the demo's users speak in a shuffled order, so that a part of the job is a fair sample."""
    from jobs.world.ellipsis import elliptical_texts
    from jobs.world.grammar import spoken_catalogue

    texts = [*spoken_catalogue(np.random.default_rng(CATALOGUE_SEED)), *elliptical_texts()]
    order = np.random.default_rng(CATALOGUE_SEED).permutation(len(texts))
    return [texts[row] for row in order]


def texts_of(paths: Iterable[Path]) -> list[str]:
    """Distinct texts of the files in a shuffled order, so that a part of the job is a fair sample."""
    from jobs.pretrain import read_texts

    found: set[str] = set()
    for path in paths:
        lines = read_texts(path) if path.suffix == ".parquet" else path.read_text(encoding="utf-8").splitlines()
        found.update(line.strip() for line in lines)
    texts = sorted(found - {""})
    order = np.random.default_rng(CATALOGUE_SEED).permutation(len(texts))
    return [texts[row] for row in order]


def main() -> None:
    """Command line of the speech job."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--texts", type=Path, nargs="+", help="parquet, or one text a line; default: the demo's spoken catalogue"
    )
    parser.add_argument("--voices", nargs="+", default=list(VOICES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard", default="0/1", help="K/N: only every N-th text, from the K-th")
    args = parser.parse_args()
    shard, shards = map(int, args.shard.split("/"))
    texts = catalogue_texts() if args.texts is None else texts_of(args.texts)
    chosen = texts[shard::shards]
    run(plan(chosen, tuple(args.voices), args.seed), args.out)


if __name__ == "__main__":
    main()
