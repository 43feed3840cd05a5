"""Making a parquet footer the same in every JVM.

parquet-java keeps a column's encodings in a set that is ordered by the objects' identity, so the same rows written by
two JVMs differ in those few bytes. The list's order means nothing (Source: parquet.thrift, ColumnMetaData.encodings),
so it is sorted in place: same length, same offsets, nothing else touched.
"""

import struct
from pathlib import Path

_ENCODINGS = (4, 1, 3, 2)
"""FileMetaData.row_groups, RowGroup.columns, ColumnChunk.meta_data, ColumnMetaData.encodings: field numbers."""

_STRUCT, _LIST, _SET, _MAP, _BINARY, _DOUBLE, _BYTE = 12, 9, 10, 11, 8, 7, 3
_BOOLEANS = (1, 2)


def sort_encodings(path: Path) -> None:
    """Sort every column's list of encodings in the footer of `path`.

    Raises:
        ValueError: the file does not end as a parquet file does.
    """
    with path.open("r+b") as file:
        file.seek(-8, 2)
        length, magic = struct.unpack("<I4s", file.read(8))
        if magic != b"PAR1":
            raise ValueError(f"{path}: ends with {magic!r}; expected b'PAR1'. Was it cut off?")
        file.seek(-8 - length, 2)
        footer = bytearray(file.read(length))
        _Walk(footer).struct(())
        file.seek(-8 - length, 2)
        file.write(footer)


class _Walk:
    """One pass over a structure in Thrift's compact protocol, sorting the lists at _ENCODINGS as they are met."""

    def __init__(self, data: bytearray) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def struct(self, path: tuple[int, ...]) -> None:
        field = 0
        while header := self.byte():
            delta, kind = header >> 4, header & 0x0F
            field = field + delta if delta else (lambda v: (v >> 1) ^ -(v & 1))(self.varint())
            if kind not in _BOOLEANS:  # a boolean field's value is its type
                self.value(kind, (*path, field))

    def value(self, kind: int, path: tuple[int, ...]) -> None:
        if kind == _STRUCT:
            self.struct(path)
        elif kind in (_LIST, _SET):
            self.items(path)
        elif kind == _MAP:
            self.pairs(path)
        elif kind == _BINARY:
            length = self.varint()
            self.at += length
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BYTE or kind in _BOOLEANS:
            self.at += 1
        else:
            self.varint()

    def items(self, path: tuple[int, ...]) -> None:
        header = self.byte()
        size, kind = header >> 4, header & 0x0F
        size = self.varint() if size == 15 else size
        start = self.at
        for _ in range(size):
            self.value(kind, path)
        if path == _ENCODINGS and self.at - start == size:  # one byte each: a permutation of bytes
            self.data[start : self.at] = bytes(sorted(self.data[start : self.at]))

    def pairs(self, path: tuple[int, ...]) -> None:
        size = self.varint()
        kinds = self.byte() if size else 0
        for _ in range(size):
            self.value(kinds >> 4, path)
            self.value(kinds & 0x0F, path)
