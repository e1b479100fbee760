"""What `loadgen run` is to speak: from targets and options to a protocol, and what it needs to know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadgen.config import LoadOptions, RunConfig, TlsOptions
from loadgen.protocols import PROTOCOLS
from loadgen.protocols.seam import Protocol
from loadgen.protocols.tls import context_of, is_name
from loadgen.target import Credentials, Target, is_path, parse_target
from loadgen.units import format_bytes, parse_bytes

_DEFAULT_TARGET = "127.0.0.1:11211"
_MOST_BYTES = 1_000_000
_LONGEST_PASSWORD = 4096
_LONGEST_HOST = 255


def targets_of(options: LoadOptions) -> list[Target]:
    """Return the targets, or the default one.

    Raises:
        ValueError: for an invalid text.
    """
    targets = [parse_target(text) for text in options.targets or (_DEFAULT_TARGET,)]
    return [target.secured() for target in targets] if options.tls else targets


def protocol_of(targets: Sequence[Target]) -> Protocol:
    """Return what all targets speak.

    Raises:
        ValueError: when it is not the same.
    """
    schemes = sorted({target.scheme for target in targets})
    if len(schemes) > 1:
        raise ValueError(f"targets mix {' and '.join(schemes)}; run them apart")
    return PROTOCOLS[targets[0].protocol]


def tls_of(targets: Sequence[Target], options: LoadOptions) -> TlsOptions | None:
    """Return how TLS is spoken, None where it is not.

    Raises:
        ValueError: for options of TLS without it, and for a CA or name that cannot be used.
    """
    if not targets[0].tls:
        if options.tls_ca or options.tls_name or options.tls_insecure or options.tls_resume:
            raise ValueError(
                "options of TLS without it: add --tls, or write rediss://, https://, …"
            )
        return None
    name = options.tls_name
    for wanted in [name] if name else [target.host for target in targets]:
        if not is_name(wanted):
            raise ValueError(f"{wanted[:40]!r} is not a name for a certificate; give --tls-name")
    tls = TlsOptions(
        ca=options.tls_ca,
        name=name,
        verify=not options.tls_insecure,
        resume=options.tls_resume,
    )
    context_of(tls)
    return tls


def bytes_of(option: str, text: str) -> str:
    """Return what `--send` or `--expect` means, its file read, in the form of `parse_bytes`.

    Raises:
        ValueError: when it cannot be read, or is too long.
    """
    if not text.startswith("@"):
        data = parse_bytes(text)
    else:
        try:
            with Path(text[1:]).open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"{option}: cannot read {text[1:]!r}: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{option}: more than {_MOST_BYTES:,} bytes")
    return format_bytes(data)


def credentials_of(targets: Sequence[Target], password_file: str | None) -> Credentials | None:
    """Return what the servers want to know of their clients, None when the user gave nothing.

    Raises:
        ValueError: when the targets differ in it, or the file holds no password.
    """
    found = {target.credentials for target in targets}
    if len(found) > 1:
        raise ValueError("targets differ in user or password; run them apart")
    credentials = found.pop()
    if password_file is not None:
        credentials = Credentials(
            credentials.user if credentials else "", _read(Path(password_file))
        )
    if credentials is None:
        return None
    if any(ord(character) < 32 for part in credentials for character in part):
        raise ValueError("user and password are one line each, without control characters")
    if targets[0].protocol == "tcp":
        raise ValueError("tcp:// has no users and passwords; put them into --send")
    return credentials


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LONGEST_PASSWORD + 2)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"--password-file: cannot read {path}: {reason}") from None
    password = text.removesuffix("\n")
    if not password or len(password) > _LONGEST_PASSWORD:
        raise ValueError(f"--password-file: {path} holds no password of 1 to 4,096 characters")
    return password


def check_options(config: RunConfig) -> None:
    """Check the options that belong to one protocol.

    Raises:
        ValueError: naming one that the targets' protocol has no use for.
    """
    if config.protocol != "tcp" and (config.send or config.expect):
        raise ValueError("--send and --expect are for tcp:// targets")
    if config.protocol == "tcp" and config.requests_per_connection > 1 and not config.expect:
        raise ValueError(
            "several requests over a tcp:// connection take --expect to tell them apart"
        )
    host = config.http_host
    if host and config.protocol != "http":
        raise ValueError("--http-host is for http:// targets")
    if len(host) > _LONGEST_HOST or not all("!" <= character <= "~" for character in host):
        raise ValueError(f"--http-host: {host[:40]!r} is not a host name in ASCII")
    if config.status_path and config.protocol != "http":
        raise ValueError("--status-path is for http:// targets")
    if config.status_path and not is_path(config.status_path):
        raise ValueError(
            f"--status-path: {config.status_path[:40]!r} is not a path such as /status"
        )
    if config.client == "pymemcache" and config.protocol != "memcached":
        raise ValueError(f"--client pymemcache speaks memcached only, not {config.protocol}")
    if config.client == "pymemcache" and config.tls is not None:
        raise ValueError("--client pymemcache speaks no TLS here; use --client raw")
    if config.client == "pymemcache" and config.op in {"mg", "ms"}:
        raise ValueError(f"--client pymemcache has no {config.op}: write get, set or mix:90/10")
