"""Propose, rescore and decide rewrites of failing requests."""

from typing import Any

_EXPORTS = {"Rewriter": "rewrite.rewriter", "TokenTrie": "rewrite.trie", "search": "rewrite.search"}


def __getattr__(name: str) -> Any:
    """Import the public names when first used, so that `import rewrite` loads nothing heavy."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'rewrite' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_EXPORTS[name]), name)
