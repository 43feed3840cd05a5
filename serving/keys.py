"""Keys: only their hashes are kept, several at a time, and the file may change while the service runs.

One key a line: `role name sha256`, role `use` or `admin`; `#` begins a comment. Keys are drawn at random with 256 bits,
so a plain hash cannot be guessed back.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

ROLES = ("use", "admin")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Key:
    """One accepted key: what it opens, what it is called in logs, and its hash."""

    role: str
    name: str
    digest: bytes


class Keyring:
    """The keys in force, read again when their file changes."""

    def __init__(self, path: Path | None) -> None:
        """Read the keys.

        Raises:
            FileNotFoundError: a file was named and is missing. ValueError: a line is no key.
        """
        self.path = path
        self._stamp: tuple[int, ...] | None = None
        self._keys: tuple[Key, ...] = ()
        if path is not None:
            if not path.is_file():
                raise FileNotFoundError(
                    f"no file of keys; got {path}; expected one that `reprise serve-key` wrote; a typing slip?"
                )
            self._stamp = _stamp(path)
            self._keys = read_keys(path)

    def has(self, role: str) -> bool:
        """Whether any key opens `role`."""
        return any(key.role == role for key in self._keys)

    def name_of(self, secret: str, role: str) -> str | None:
        """The name of the key that `secret` is, None where it opens no `role`. Every key is compared, in equal time."""
        digest = hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest) and key.role == role:
                found = key.name
        return found

    def refresh(self) -> bool:
        """Read the file again if it changed; True where the keys in force are new.

        Raises:
            OSError, ValueError: the file cannot be read now; the keys stay as they were.
        """
        if self.path is None or (stamp := _stamp(self.path)) == self._stamp:
            return False
        self._keys = read_keys(self.path)
        self._stamp = stamp
        return True


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        ValueError: a line is no key, or the file holds none.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ROLES or not re.fullmatch("[0-9a-f]{64}", words[2]):
            raise ValueError(
                f"{path}, line {number} is no key; expected `role name sha256` with role use or admin; "
                "`reprise serve-key` writes such lines"
            )
        found.append(Key(words[0], words[1], bytes.fromhex(words[2])))
    if not found:
        raise ValueError(f"{path} holds no key; `reprise serve-key` adds one")
    return tuple(found)


def new_key(role: str, name: str) -> tuple[str, str]:
    """A new secret and the line that lets it in.

    Raises:
        ValueError: no such role, or a name that does not fit in a line.
    """
    if role not in ROLES or not _NAME.fullmatch(name):
        raise ValueError(f"got role {role!r} and name {name!r}; expected use or admin, and letters, digits, dot, dash")
    secret = "rp_" + secrets.token_urlsafe(32)
    return secret, f"{role} {name} {hashlib.sha256(secret.encode()).hexdigest()}\n"


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
