"""Host files: a host a line, `NAME [slots=N] [devices=KIND=N] [user=USER] [port=PORT]`; # begins a comment."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Sequence

from .settings import Host

_FIELDS = ("slots", "devices", "user", "port")


def devices_of(text: str) -> str:
    """KIND=COUNT, checked; ValueError says what is wrong with it."""
    kind, _, count = text.partition("=")
    if not kind or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"'{text}' is not KIND=COUNT, as in cpu=4")
    if kind != "cpu":
        raise ValueError(f"'{text}': workers offer CPU devices only; give cpu=COUNT")
    return f"cpu={int(count)}"


def read(path: str, devices: str) -> list[Host]:
    """The hosts of a file, with `devices` where a line says neither slots nor devices. ValueError names the line."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the host file '{path}' cannot be read: {getattr(error, 'strerror', error)}") from None
    hosts: dict[str, int] = {}
    found = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            host = _host(words, devices)
            if host.name in hosts:
                raise ValueError(f"'{host.name}' is on line {hosts[host.name]} already; one line has all its slots")
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
        hosts[host.name] = number
        found.append(host)
    if not found:
        raise ValueError(f"the host file '{path}' names no host")
    return found


def _host(words: Sequence[str], devices: str) -> Host:
    name, *rest = words
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(f"'{name}' is no name of a host (a user is given as user=NAME, a port as port=NUMBER)")
    fields: dict[str, str] = {}
    for word in rest:
        key, _, value = word.partition("=")
        if key not in _FIELDS:
            raise ValueError(f"'{word}' is unknown; after the host's name come {', '.join(f'{f}=' for f in _FIELDS)}")
        if key in fields:
            raise ValueError(f"'{word}' comes after {key}={fields[key]}; one of them is too many")
        fields[key] = value
    if "slots" in fields and "devices" in fields:
        raise ValueError("slots=N is short for devices=cpu=N; give one of them")
    if "devices" in fields:
        devices = fields["devices"]
    elif "slots" in fields:
        devices = f"cpu={_number('slots', fields['slots'], 1 << 20)}"
    user = fields.get("user")
    if user is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*", user):
        raise ValueError(f"'user={user}' is no name of a user")
    port = _number("port", fields["port"], 65535) if "port" in fields else None
    return Host(name, devices_of(devices), user, port)


def _number(key: str, text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"'{key}={text}' is not a number from 1 to {most}")
    return int(text)


def address_towards(names: Sequence[str], target: Callable[[str], str]) -> str:
    """The address of this host from which the first of them, other than itself, is reached; `target` is a host's name
    or address in the network. ValueError names a host that is not found."""
    source = ""
    for name in names:
        source = _source(name, target(name))
        if not source.startswith("127."):
            break
    return source


def ssh_target(name: str, ssh: Sequence[str]) -> str:
    """What ssh connects to under this name, which may be an alias in its configuration."""
    shown = subprocess.run([*ssh, "-G", "--", name], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = re.search(r"^hostname (\S+)$", shown.stdout, re.MULTILINE)
    return found[1] if found else name


def _source(name: str, target: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))  # sends nothing: it chooses a route
        except OSError as error:
            known = f"{name} ({target})" if name != target else name
            hint = "say with --listen on which address of this host the driver is to listen"
            raise ValueError(f"{known} is not found from here: {error.strerror}; or {hint}") from None
        return probe.getsockname()[0]
