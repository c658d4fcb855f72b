"""Read the struct types out of a Go program: fields, their types and tags.

Go keeps what `reflect` needs in the program: every type's descriptor (`internal/abi.Type` and what
follows it, layout of Go 1.20 to 1.25, 64 bit, little endian). Programs must be linked without
position independence, as the released kubectl is: then addresses are plain numbers.
"""

import struct
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

ARRAY, MAP, POINTER, SLICE, STRUCT = 17, 21, 22, 23, 25
SCALARS = {
    1: "bool", 2: "int", 3: "int8", 4: "int16", 5: "int32", 6: "int64", 7: "uint", 8: "uint8",
    9: "uint16", 10: "uint32", 11: "uint64", 13: "float32", 14: "float64", 20: "interface",
    24: "string",
}  # fmt: skip
_TYPE_BYTES = 48
_UNCOMMON, _EXTRA_STAR = 1, 2


class Type(NamedTuple):
    """A Go type. `name` is the bare name of a named type; equal addresses are equal types."""

    address: int
    kind: int
    package: str
    name: str


class Field(NamedTuple):
    name: str
    type: Type
    tag: str


class Program:
    """An ELF file made by Go."""

    def __init__(self, path: Path) -> None:
        self._data = path.read_bytes()
        if self._data[:6] != b"\x7fELF\x02\x01":
            raise SystemExit(f"{path} is no 64 bit little endian ELF file")
        self._sections = self._read_sections()
        self._types = self._sections[".rodata"][0]

    def _read_sections(self) -> dict[str, tuple[int, int, int]]:
        """Name to address, offset, size."""
        (start,) = struct.unpack_from("<Q", self._data, 0x28)
        each, count, names_at = struct.unpack_from("<HHH", self._data, 0x3A)
        rows = [struct.unpack_from("<IIQQQQ", self._data, start + each * at) for at in range(count)]
        names = rows[names_at][4]
        found = {}
        for row in rows:
            end = self._data.index(b"\0", names + row[0])
            found[self._data[names + row[0] : end].decode()] = (row[3], row[4], row[5])
        return found

    def _offset(self, address: int) -> int:
        for base, offset, size in self._sections.values():
            if base and base <= address < base + size:
                return offset + address - base
        raise ValueError(f"no section holds address {address:#x}")

    def _read(self, form: str, address: int) -> tuple[int, ...]:
        return struct.unpack_from(form, self._data, self._offset(address))

    def _text(self, at: int) -> tuple[str, int]:
        """A length-prefixed text at a file offset, and where it ends."""
        size = shift = 0
        while True:
            byte = self._data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        return self._data[at : at + size].decode(), at + size

    def _name(self, address: int) -> tuple[str, str]:
        """An `abi.Name`: its text and its tag."""
        at = self._offset(address)
        text, end = self._text(at + 1)
        return text, (self._text(end)[0] if self._data[at] & 2 else "")

    @cache  # noqa: B019
    def type(self, address: int) -> Type:
        flags, kind = self._data[self._offset(address) + 20], self._read("<B", address + 23)[0] & 31
        (name_at,) = self._read("<i", address + 40)
        text, _ = self._name(self._types + name_at)
        text = text[1:] if flags & _EXTRA_STAR else text
        package = ""
        if flags & _UNCOMMON:
            own = {ARRAY: 24, MAP: 40, POINTER: 8, SLICE: 8, STRUCT: 32, 18: 16, 19: 8, 20: 32}
            (path_at,) = self._read("<i", address + _TYPE_BYTES + own.get(kind, 0))
            package = self._name(self._types + path_at)[0] if path_at else ""
        return Type(address, kind, package, text.rpartition(".")[2] if package else text)

    def element(self, typ: Type) -> Type:
        """Of a pointer, slice or array; a map's values."""
        at = typ.address + _TYPE_BYTES + (8 if typ.kind == MAP else 0)
        return self.type(self._read("<Q", at)[0])

    def fields(self, typ: Type) -> list[Field]:
        start, count = self._read("<QQ", typ.address + _TYPE_BYTES + 8)
        found = []
        for at in range(start, start + 24 * count, 24):
            name, field, _ = self._read("<QQQ", at)
            text, tag = self._name(name)
            found.append(Field(text, self.type(field), tag))
        return found

    @cached_property
    def structs(self) -> dict[tuple[str, str], Type]:
        """Every named struct that the program knows a pointer to, by package and name."""
        base, offset, size = self._sections[".typelink"]
        assert base
        found = {}
        for (link,) in struct.iter_unpack("<i", self._data[offset : offset + size]):
            typ = self.type(self._types + link)
            if typ.kind == POINTER and (to := self.element(typ)).kind == STRUCT and to.package:
                found[to.package, to.name] = to
        return found
