"""Secrets and invisible characters leave a journal's plain JSON before anything is built from it: no view can show one.

What services say is hostile input. Control characters (terminal escapes), characters that reorder text and lone
surrogates are made visible. Masked are values under names that speak of a secret (headers, environment variables,
payload fields), credentials in URLs, and ``name: value`` pairs of such names within text (log lines, bodies, command
lines).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "[masked]"
_NAMES = (
    r"(?:proxy-)?authorization|(?:set-)?cookie"
    r"|[a-z0-9_.-]{0,40}(?:passw(?:or)?d|passwd|pwd|passphrase|secret|token|credentials?|(?:api|access|private|secret|signing)[_-]?key)"
)
_SECRET_NAME = re.compile(rf"(?:{_NAMES})\Z", re.IGNORECASE)
# A cookie or an authorization goes on to the end of its line; any other secret ends at a blank or a delimiter.
_LONG = re.compile(
    r"(?i)((?<![a-z])(?:proxy-)?authorization|(?<![a-z])(?:set-)?cookie)([\"']?\s*[:=]\s*[\"']?)([^\r\n\"']+)"
)
_SHORT = re.compile(rf"(?i)(?<![a-z0-9_.-])({_NAMES})([\"']?\s*[:=]\s*[\"']?)(?!{re.escape(MASK)})([^\s,;\"'&}}]+)")
_USERINFO = re.compile(r"([a-z][a-z0-9+.-]{1,20}://)[^/\s:@\"']{0,200}:[^/\s@\"']{1,200}@", re.IGNORECASE)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/._~-]{8,}=*")
# Control characters but for tab and line ends; overrides and isolates of text direction; halves of surrogate pairs.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def mask(plain: Any) -> Any:
    """Give a copy of a JSON value with every secret replaced by ``[masked]``."""
    if isinstance(plain, str):
        return mask_text(plain)
    if isinstance(plain, Mapping):
        # The keys of `logs` are names of nodes: a node may well be called "token".
        return {
            visible(str(name)): _logs(item) if name == "logs" else _named(str(name), item)
            for name, item in plain.items()
        }
    if isinstance(plain, list):
        return [mask(item) for item in plain]
    return plain


def mask_text(text: str) -> str:
    """Replace the secrets within a text, and make what is invisible visible."""
    text = visible(text)
    if ":" not in text and "=" not in text and " " not in text:
        return text
    text = _USERINFO.sub(rf"\1{MASK}@", text)
    text = _LONG.sub(rf"\1\2{MASK}", text)
    text = _SHORT.sub(rf"\1\2{MASK}", text)
    return _BEARER.sub(rf"\1 {MASK}", text)


def visible(text: str) -> str:
    """Replace characters that steer a terminal or reorder text by their names (``<U+001B>``)."""
    return _INVISIBLE.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def _named(name: str, item: Any) -> Any:
    if isinstance(item, str):
        return MASK if item and _SECRET_NAME.match(name) else mask_text(item)
    return mask(item)


def _logs(item: Any) -> Any:
    return (
        {visible(str(name)): mask_text(str(text)) for name, text in item.items()}
        if isinstance(item, Mapping)
        else mask(item)
    )
