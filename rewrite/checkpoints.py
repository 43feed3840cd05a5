"""Where a model that a user names lies: in a folder here, or on the hub."""

from pathlib import Path


def is_local(name: str | Path) -> bool:
    """Whether `name` is a path that exists; else it is a hub name, which has the form `model` or `owner/model`.

    Progress bars of loading are switched off: it takes a moment, and they end up in logs.

    Raises:
        ValueError: a path was meant and nothing is there. The hub would be asked for it in vain, for half a minute.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    path, text = Path(name), str(name)
    if path.exists():
        return True
    owner, slash, _ = text.partition("/")
    meant = isinstance(name, Path) or text.count("/") > 1 or "\\" in text
    if meant or text.startswith((".", "~", "/")) or (slash and Path(owner).exists()):
        raise ValueError(f"{text}: no such folder; expected a folder that holds a model, or the name of one on the hub")
    return False
