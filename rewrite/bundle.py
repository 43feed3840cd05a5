"""Bundles: one directory is one version of everything that must agree, verified before use and never changed in
place.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewrite.disk import fsync, fsync_tree

if TYPE_CHECKING:
    from rewrite.rewriter import Rewriter

FORMAT = 1


class BundleError(ValueError):
    """A folder is no bundle, or one of its files is missing or altered: do not use it."""


def pack(out: Path, write: Callable[[Path], None], facts: Mapping[str, Any]) -> str:
    """Write a bundle at `out` as a whole or not at all.

    Args:
        write: puts every file but the manifest into the folder it is given.
        facts: what the manifest says besides the files: parents, config, data window, figures.

    Returns:
        The bundle's id, from the content of its files: the same content has the same id.

    Raises:
        FileExistsError: something is at `out` already; bundles are immutable.
    """
    if out.exists():
        raise FileExistsError(
            f"{out} exists already and bundles are never changed in place; choose another --out or remove it"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.parent / f".{out.name}.part-{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        write(part)
        files = {str(p.relative_to(part)): _describe(p) for p in sorted(part.rglob("*")) if p.is_file()}
        bundle_id = _id(files)
        manifest = {"format": FORMAT, "id": bundle_id, **facts, "files": files}
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        fsync_tree(part)
        part.rename(out)
        fsync(out.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return bundle_id


def verify(folder: Path) -> dict[str, Any]:
    """Check every file of a bundle against its manifest, and return the manifest.

    Raises:
        BundleError: no manifest, another format, or a file missing, altered or too many.
    """
    check_kind(folder)
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        files: dict[str, Any] = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{folder} is not a bundle: no readable manifest.json ({error}); `reprise learn` writes bundles"
        ) from error
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{folder} has bundle format {manifest.get('format')}, expected {FORMAT}; learn it again with this version"
        )
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"manifest.json"}
    if extra := sorted(found - files.keys()):
        raise BundleError(f"{folder} holds {extra[0]}, which its manifest does not list; take the bundle anew")
    if _id(files) != manifest.get("id"):
        raise BundleError(f"{folder} is corrupt: its id does not fit its files; take the bundle anew")
    for name, described in files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{folder} misses {name}; the copy is incomplete, take the bundle anew")
        if _describe(path) != described:
            raise BundleError(
                f"{folder} is corrupt: {name} has sha256 {_describe(path)['sha256'][:12]}…, expected "
                f"{described['sha256'][:12]}…; it was altered or damaged after it was written, take the bundle anew"
            )
    return manifest


def check_kind(folder: Path) -> None:
    """Refuse a folder that another command wrote, by what is found in it at once.

    Raises:
        BundleError: nothing is there, or a file, a mining run, or a registry.
    """
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "nothing is there"
        raise BundleError(
            f"{folder} is not a bundle: {what}; expected a folder that `reprise learn` wrote; a typing slip?"
        )
    if (folder / "_SUCCESS").is_file():
        raise BundleError(
            f"{folder} is not a bundle but a run of `reprise mine`; `reprise learn {folder} --out BUNDLE` makes one"
        )
    if (folder / "bundle" / "manifest.json").is_file():
        raise BundleError(f"{folder} is not a bundle but holds one; name that: {folder / 'bundle'}")
    if (folder / "bundles").is_dir():
        raise BundleError(
            f"{folder} is not a bundle but a registry; name one of its bundles, {folder / 'bundles'}/ID "
            f"(`reprise bundles list --registry {folder}`), or serve it with --registry"
        )


def load(folder: Path) -> "Rewriter":
    """Verify a bundle, then open it.

    Raises:
        BundleError: as `verify`.
    """
    manifest = verify(folder)
    from rewrite.classifier import Classifier
    from rewrite.decision import Decider
    from rewrite.generator import Generator
    from rewrite.ngram_weights import NgramWeights
    from rewrite.rewriter import Rewriter, Scorer
    from rewrite.spaces import Knowledge
    from rewrite.ties import Ties
    from rewrite.trie import TokenTrie

    decider = Decider.load(folder / "decision")
    generator = Generator.load(folder / "model") if (folder / "model").exists() else None
    trie = TokenTrie.load(folder / "global" / "trie") if generator is not None else None
    intents, ties = Classifier.load(folder / "decision", "intents"), Ties.load(folder / "decision")
    ngrams = NgramWeights.load(folder / "decision")
    rates = decider.intent_defect_rates
    scorer = Scorer(Knowledge.load(folder), generator, trie, intents, rates, ngrams=ngrams, ties=ties)
    return Rewriter(scorer, decider, manifest["id"])


def _id(files: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
