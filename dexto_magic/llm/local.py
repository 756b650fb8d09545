"""What runs on this machine: which URLs stay on it, and whether an Ollama answers here."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
from urllib.parse import urlsplit

from dexto_magic.settings import variable

OLLAMA_VARIABLE = "OLLAMA_HOST"


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine, reached without any network."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def ollama_url(host: str) -> str:
    """The URL of the server that ``OLLAMA_HOST`` names.

    It may be a host, a port, both, or a URL, in quotes or not, and is the address to *listen* on:
    ``0.0.0.0`` there means that clients on this machine use loopback
    (https://docs.ollama.com/faq; ``envconfig.Host`` in its source has the defaults).
    """
    scheme, mark, rest = host.strip().strip("\"'").strip().partition("://")
    if not mark:
        scheme, rest = "http", scheme
    default_port = {"http": "80", "https": "443"}.get(scheme, "11434") if mark else "11434"
    authority, slash, path = rest.partition("/")
    named = re.fullmatch(r"(?P<name>\[.*\]|[^:]*)(?::(?P<port>\d+))?", authority)
    name, port = (named["name"], named["port"]) if named else (f"[{authority}]", None)
    if name in ("", "0.0.0.0", "[::]"):  # noqa: S104 (nothing is bound to it: it is replaced)
        name = "127.0.0.1"
    return f"{scheme}://{name}:{port or default_port}{slash}{path}".rstrip("/")


def ollama_models(timeout: float = 0.3) -> list[str]:
    """The models of an Ollama on this machine; none if it does not answer within ``timeout``.

    Asked past any proxy and without following a redirect: the question stays on this machine.
    The answer is described at https://docs.ollama.com/api/tags.
    """
    try:
        url = urlsplit(ollama_url(variable(OLLAMA_VARIABLE) or ""))
        if url.scheme != "http" or not is_loopback(url.geturl()):
            return []
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
    except ValueError:  # OLLAMA_HOST holds no address
        return []
    try:
        connection.request("GET", f"{url.path}/api/tags")
        models = json.loads(connection.getresponse().read())["models"]
        return [str(model["name"]) for model in models]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []
    finally:
        connection.close()
