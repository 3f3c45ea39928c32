"""Kafka's own message definitions, out of the jar in use: writes and reads any version of any message."""

from __future__ import annotations

import json
import re
import struct
import zipfile

FORMATS = {"bool": ">?", "int8": ">b", "int16": ">h", "int32": ">i", "int64": ">q", "uint16": ">H", "float64": ">d"}
LETTERS = {"bool": "b", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uuid": "u", "string": "s"}


def load(libs):
    """Read every definition from kafka-clients' jar; give requests and answers by API key."""
    (jar,) = libs.glob("kafka-clients-*.jar")
    requests, answers = {}, {}
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"common/message/\w+(Request|Response)\.json", name):
                plain = json.loads(re.sub(r"(?m)//.*$", "", archive.read(name).decode()))
                where = requests if plain["type"] == "request" else answers
                where[plain["apiKey"]] = Definition(plain)
    return requests, answers


def versions(text):
    """Give a range such as ``0-12``, ``9+``, ``3`` or ``none``."""
    if text == "none":
        return range(0)
    low, _, high = text.rstrip("+").partition("-")
    return range(int(low), 32768 if text.endswith("+") else int(high or low) + 1)


class Definition:
    """One message in all its versions; a message's value is a dict, a tagged field that is absent is absent."""

    def __init__(self, plain):
        self.name = re.sub(r"(Request|Response)$", "", plain["name"])
        self.key = plain["apiKey"]
        self.valid = versions(plain["validVersions"])
        self.flexible = versions(plain.get("flexibleVersions", "none"))
        self.fields = plain.get("fields", ())
        self.structs = {one["name"]: one["fields"] for one in plain.get("commonStructs", ())}

    def of(self, fields, version):
        """Give the plain and the tagged fields of a version."""
        here = [field for field in fields if version in versions(field["versions"])]
        plain = [field for field in here if "tag" not in field]
        tagged = [field for field in here if "tag" in field and version in versions(field["taggedVersions"])]
        return plain, sorted(tagged, key=lambda field: field["tag"])

    def inner(self, field):
        """Give the fields of a struct, or of an array's elements; None: they are plain."""
        kind = field["type"].removeprefix("[]")
        return field.get("fields") or self.structs.get(kind)

    def layout(self, version):
        """Give the message as wire's layouts are written, without capitals."""
        return self._layout(self.fields, version, top=True)

    def _layout(self, fields, version, *, top=False):
        plain, tagged = self.of(fields, version)
        parts = []
        for field in plain:
            kind, inner = field["type"], self.inner(field)
            if kind.startswith("[]") and inner is not None:
                parts.append(f"[{self._layout(inner, version)}]")
            elif kind.startswith("[]"):
                parts.append(f"*{LETTERS[kind[2:]]}")
            elif inner is not None:
                parts.append(("b" if "nullableVersions" in field else "") + f"({self._layout(inner, version)})")
            else:
                parts.append(LETTERS.get(kind, "y"))
        if top and tagged and tagged[0]["tag"] == 0 and self.inner(tagged[0]) is not None:
            parts.append(f"{{[{self._layout(self.inner(tagged[0]), version)}]}}")
        return "".join(parts)

    def made_up(self, version, dice):
        """Make a value up that has all kinds of sizes, nulls and tagged fields in it."""
        return self._made_up(self.fields, version, dice)

    def _made_up(self, fields, version, dice):
        plain, tagged = self.of(fields, version)
        chosen = [*plain, *(field for field in tagged if dice.random() < 0.5)]
        return {field["name"]: self._one(field, version, dice) for field in chosen}

    def _one(self, field, version, dice):  # noqa: PLR0911 - one for each type
        kind, inner = field["type"], self.inner(field)
        if version in versions(field.get("nullableVersions", "none")) and dice.random() < 0.2:
            return None
        if kind.startswith("[]"):
            one = {**field, "type": kind[2:], "nullableVersions": "none"}
            return [self._one(one, version, dice) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
        if inner is not None:
            return self._made_up(inner, version, dice)
        if kind in ("string", "uuid"):
            text = "".join(dice.choices("abcé-.", k=dice.choice((0, 1, 5, 130))))
            return text if kind == "string" else dice.randbytes(16)
        if kind not in FORMATS:
            return dice.randbytes(dice.choice((0, 1, 200)))
        if kind == "bool":
            return dice.random() < 0.5
        return dice.choice((0, 0, 1, 3, 100))

    def write(self, version, value):
        """Write the body."""
        return self._write(self.fields, version, value)

    def _write(self, fields, version, value):
        plain, tagged = self.of(fields, version)
        out = [self._field(field, version, value[field["name"]]) for field in plain]
        if version in self.flexible:
            given = [field for field in tagged if field["name"] in value]
            out.append(uvarint(len(given)))
            for field in given:
                data = self._field(field, version, value[field["name"]])
                out += [uvarint(field["tag"]), uvarint(len(data)), data]
        return b"".join(out)

    def _field(self, field, version, value):
        kind, inner, flexible = field["type"], self.inner(field), version in self.flexible
        if kind.startswith("[]"):
            if value is None:
                return sized(None, 4, flexible=flexible)
            one = {**field, "type": kind[2:]}
            return sized(len(value), 4, flexible=flexible) + b"".join(
                self._write(inner, version, item) if inner is not None else self._field(one, version, item)
                for item in value
            )
        if inner is not None:
            mark = b"" if "nullableVersions" not in field else b"\xff" if value is None else b"\1"
            return mark + (b"" if value is None else self._write(inner, version, value))
        if kind == "uuid":
            return value
        if kind in FORMATS:
            return struct.pack(FORMATS[kind], value)
        data = value.encode() if isinstance(value, str) else value
        size = sized(None if data is None else len(data), 2 if kind == "string" else 4, flexible=flexible)
        return size + (data or b"")

    def read(self, version, data):
        """Read a body that must end where the data end."""
        value, at = self._read(self.fields, version, data, 0)
        assert at == len(data), (self.name, version, at, len(data))
        return value

    def _read(self, fields, version, data, at):
        plain, tagged = self.of(fields, version)
        value = {}
        for field in plain:
            value[field["name"]], at = self._field_read(field, version, data, at)
        if version in self.flexible:
            by_tag = {field["tag"]: field for field in tagged}
            count, at = uvarint_read(data, at)
            for _ in range(count):
                tag, at = uvarint_read(data, at)
                size, at = uvarint_read(data, at)
                if tag in by_tag:
                    field = by_tag[tag]
                    value[field["name"]], _ = self._field_read(field, version, data[: at + size], at)
                at += size
        return value, at

    def _field_read(self, field, version, data, at):  # noqa: PLR0911 - one for each type
        kind, inner, flexible = field["type"], self.inner(field), version in self.flexible
        if kind in FORMATS:
            return struct.unpack_from(FORMATS[kind], data, at)[0], at + struct.calcsize(FORMATS[kind])
        if kind == "uuid":
            return data[at : at + 16], at + 16
        if inner is not None and not kind.startswith("[]"):
            if "nullableVersions" in field:
                at += 1
                if data[at - 1] == 0xFF:
                    return None, at
            return self._read(inner, version, data, at)
        size, at = sized_read(data, at, 2 if kind == "string" else 4, flexible=flexible)
        if size < 0:
            return None, at
        if kind.startswith("[]"):
            items = []
            for _ in range(size):
                if inner is not None:
                    item, at = self._read(inner, version, data, at)
                else:
                    item, at = self._field_read({**field, "type": kind[2:]}, version, data, at)
                items.append(item)
            return items, at
        raw = data[at : at + size]
        assert len(raw) == size
        return raw.decode() if kind == "string" else raw, at + size


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def uvarint_read(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def sized(size, fixed, *, flexible):
    if flexible:
        return uvarint(0 if size is None else size + 1)
    return (-1 if size is None else size).to_bytes(fixed, "big", signed=True)


def sized_read(data, at, fixed, *, flexible):
    if flexible:
        size, at = uvarint_read(data, at)
        return size - 1, at
    return int.from_bytes(data[at : at + fixed], "big", signed=True), at + fixed


def request(definition, version, value, *, correlation, client="test"):
    """Write a whole request, header and size included."""
    head = struct.pack(">hhi", definition.key, version, correlation)
    head += sized(len(client), 2, flexible=False) + client.encode()
    return framed(head + (b"\0" if version in definition.flexible else b"") + definition.write(version, value))


def answer(definition, version, value, *, correlation):
    """Write a whole answer, header and size included."""
    tags = b"\0" if version in definition.flexible and definition.name != "ApiVersions" else b""
    return framed(struct.pack(">i", correlation) + tags + definition.write(version, value))


def framed(data):
    return len(data).to_bytes(4, "big") + data
