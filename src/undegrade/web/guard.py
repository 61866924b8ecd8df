"""What every request passes before anything else sees it. docs/security.md tells what each rule is against."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import ipaddress
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from undegrade.core.whole_number import whole_number
from undegrade.web.limits import Limits

__all__ = ["Guard", "Refusal"]

Message = dict[str, Any]

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; media-src 'self' blob:; "
    "worker-src 'self' blob:; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
"""Nothing from any other host; scripts only from files of ours or with the nonce of this very answer."""

PAGE_PATHS = re.compile(
    r"/(assets|static)/[^?]*|/(theme\.css|favicon\.ico|manifest\.json|config/?)|/gradio_api/"
    r"(queue/(join|data)|upload|upload_progress|cancel|reset/?|heartbeat/[^/]+|startup-events|theme\.css|info/?"
    r"|file=(?!https?:)[^?]+)"
)
"""All that the page needs of gradio; its proxy, its monitoring and the rest stay shut."""
JSON_PATHS = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/reset/")
LARGEST_JSON = 1 << 20
COOKIE = "undegrade_token"
CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f]")


@dataclass
class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An answer that ends a request here."""

    status: int
    reason: str
    headers: dict[str, str] = field(default_factory=dict)


class Guard:
    """ASGI application around another one.

    Args:
        app: what is guarded.
        limits: ``upload``, ``request``, ``in_flight``, ``idle``, ``rate``, ``kept`` count here.
        hosts: names under which the server may be called; numbers are always fine, because a foreign page cannot
            make a browser take its name for ours (DNS rebinding) without using a name.
        pages: paths of pages.
        token: asked of every request when given.
        kept: bytes that lie on disk for the page.
        folder: where files of the page lie; gradio's JSON may name no others. None: any. gradio does not look itself:
            what is mounted counts as not launched, and then it takes any file of the machine for one that was sent.
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        *,
        hosts: Iterable[str] = (),
        pages: Iterable[str] = ("/",),
        token: str | None = None,
        kept: Callable[[], int] = lambda: 0,
        folder: Path | None = None,
    ) -> None:
        self.app, self.limits, self.kept, self.folder = app, limits, kept, folder
        self.hosts = {"localhost", *(name.lower() for name in hosts)}
        self.pages = set(pages)
        self.token = token.encode() if token else None
        self.cookie = hashlib.sha256(b"undegrade page " + self.token).hexdigest() if self.token else ""
        self.in_flight = 0

    async def __call__(self, scope: Message, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # gradio needs no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        body = _Body(self, receive, scope)
        answer = _Answer(send, scope, self.limits, body)
        try:
            self._admit(scope)
            await body.check()
            # For a part of a file gradio sends the request's headers back, cookie and all; for several it breaks down.
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
            if scope["method"] == "HEAD" and scope["path"] in self.pages:  # which gradio answers for / only
                scope = {**scope, "method": "GET"}  # the server below drops the body
            await self.app(scope, body.receive, answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except TimeoutError:
            if answer.begun:
                raise ConnectionAbortedError("a client reads too slowly") from None
            raise
        finally:
            body.release()

    def _admit(self, scope: Message) -> None:
        """Raises a Refusal for what has no business here."""
        path, method = scope["path"], scope["method"]
        host = _header(scope, "host")
        name = _host_name(host)
        if name not in self.hosts and not _is_number(name):
            raise Refusal(403, f"host {name[:80]!r} is not this server's: start it with --allow-host to serve a name")
        if method not in ("GET", "HEAD"):
            origin, site = _header(scope, "origin"), _header(scope, "sec-fetch-site")
            if site in ("cross-site", "same-site") or (origin and not _is_ours(origin, host.lower())):
                raise Refusal(403, "requests from other web sites are not taken")
        if self.token is not None:
            self._ask_for_token(scope)
        if not (path in self.pages or path.startswith("/api/") or PAGE_PATHS.fullmatch(path)):
            raise Refusal(404, "there is nothing here: / is the page, /api/docs tells of the API")
        if path == "/gradio_api/upload" and self.kept() > self.limits.kept:
            raise Refusal(503, "the disk space for pictures is used up: try again later", {"retry-after": "60"})

    def _ask_for_token(self, scope: Message) -> None:
        assert self.token is not None
        scheme, _, given = _header(scope, "authorization").strip().partition(" ")
        # The bytes as they came.
        bearer = given.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        if hmac.compare_digest(bearer, self.token) or hmac.compare_digest(_cookie(scope), self.cookie):
            return
        page = scope["path"] in self.pages and scope["method"] in ("GET", "HEAD")
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0].encode()
        if page and hmac.compare_digest(asked, self.token):
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={self.cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"
            raise Refusal(303, "", {"location": scope["path"], "set-cookie": cookie})
        raise Refusal(401, "a token is needed: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"})


class _Body:
    """The request's body on its way in: counted, timed, and looked through where gradio would follow an address."""

    def __init__(self, guard: Guard, receive: Callable[..., Any], scope: Message) -> None:
        self.guard, self.limits, self._receive = guard, guard.limits, receive
        path, length = scope["path"], whole_number(_header(scope, "content-length"))
        self.announced, self.json = -1 if length is None else length, path in JSON_PATHS
        self.most = LARGEST_JSON if self.json else max(self.limits.request, self.limits.upload + LARGEST_JSON)
        self.told = self.most
        if path == "/api/restore":
            self.told, self.most = self.limits.upload, self.limits.upload + LARGEST_JSON  # the form's own lines
        self.received = self.counted = 0
        none = self.announced <= 0 and not _header(scope, "transfer-encoding")
        self.done = none and scope["method"] in ("GET", "HEAD")
        self.invited = _header(scope, "expect").lower() != "100-continue"  # or is on its way unasked
        self.begun = time.monotonic()
        self.held: list[Message] = []

    async def check(self) -> None:
        """Refuses by what the headers say; reads the bodies that are looked through."""
        if self.announced > self.most:
            raise Refusal(413, f"{_mb(self.announced)} are too many, at most {_mb(self.told)} are taken")
        if self.json:
            parts = []
            while not self.done:
                message = await self._next()
                if message["type"] != "http.request":
                    return
                parts.append(message.get("body", b""))
            body = b"".join(parts)
            try:
                found = json.loads(body or b"null")
            except (ValueError, RecursionError):
                raise Refusal(400, "not JSON") from None
            for key, text in _texts(found):
                if key == "path" and "://" in text:
                    raise Refusal(400, "addresses are not fetched: send the picture itself")
                if key == "path" and self.guard.folder is not None and not _lies_in(text, self.guard.folder):
                    raise Refusal(400, f"{text[:80]!r} was not sent to this page: send the picture itself")
                if key != "orig_name" and CONTROL.search(text):  # gradio writes values that do not fit into our log
                    raise Refusal(400, f"{text[:80]!r}: control characters are not taken")
            self.held.append({"type": "http.request", "body": body, "more_body": False})

    async def receive(self) -> Message:
        """For the application."""
        if self.held:
            return self.held.pop()
        return dict(await self._receive()) if self.done else await self._next()

    async def drain(self) -> bool:
        """Takes in what is still to come and throws it away; whether that was all of it.

        A connection that is closed while the other side sends is reset, and the answer in it is lost. Who waits for
        a word (Expect: 100-continue) sends nothing, and to ask would be to invite all of it.
        """
        if not self.invited:
            return self.done
        end, most = time.monotonic() + self.limits.idle, self.limits.request if self.most else 0
        while not self.done and most > 0 and (left := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except TimeoutError:
                break
            most -= len(message.get("body", b""))
            self.done = message["type"] != "http.request" or not message.get("more_body", False)
        return self.done

    def release(self) -> None:
        """What has come no longer counts as being on its way."""
        self.guard.in_flight -= self.counted
        self.counted = 0

    async def _next(self) -> Message:
        patience = self.limits.idle + self.received / self.limits.rate - (time.monotonic() - self.begun)
        self.invited = True
        try:
            message: Message = await asyncio.wait_for(self._receive(), max(0.0, min(patience, self.limits.idle)))
        except TimeoutError:
            self.most = 0  # waited for long enough
            raise Refusal(408, "the request comes too slowly") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.received += size
            self.counted += size
            self.guard.in_flight += size
            self.done = not message.get("more_body", False)
            if self.received > self.most:
                raise Refusal(413, f"at most {_mb(self.told)} are taken")
            if self.guard.in_flight > max(self.limits.in_flight, self.most):
                raise Refusal(503, "too much is being sent at once: try again in a moment", {"retry-after": "5"})
        else:
            self.done = True
        if self.done:
            self.release()
        return message


class _Answer:
    """The answer on its way out: security headers, a nonce for the page's own scripts, no endless waiting."""

    def __init__(self, send: Callable[..., Any], scope: Message, limits: Limits, body: _Body) -> None:
        self._send, self.limits, self.body = send, limits, body
        self.path, self.wants_page = scope["path"], "text/html" in _header(scope, "accept")
        self.nonce = secrets.token_urlsafe(16)
        self.begun = False
        self.page: tuple[Message, list[bytes]] | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = [(key.lower(), value) for key, value in message.get("headers", [])]
            kind = next((value for key, value in headers if key == b"content-type"), b"")
            named = {key for key, _ in headers}
            added = dict(HEADERS, **{"content-security-policy": POLICY.format(nonce=self.nonce)})
            if b"cache-control" not in named and not self.path.startswith(("/assets/", "/static/")):
                added["cache-control"] = "no-store"
            if not await self.body.drain():  # who is answered need not go on sending, however slowly
                added["connection"] = "close"
            drop = {b"connection", b"server", b"access-control-allow-origin", b"access-control-allow-credentials"}
            headers = [(key, value) for key, value in headers if key not in drop]
            headers += [(key.encode(), value.encode()) for key, value in added.items()]
            message = {**message, "headers": headers}
            if kind.startswith(b"text/html"):
                self.page = (message, [])
                return
        elif self.page is not None:
            start, parts = self.page
            parts.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            body = b"".join(parts).replace(b"<script", f'<script nonce="{self.nonce}"'.encode())
            headers = [(key, value) for key, value in start["headers"] if key != b"content-length"]
            headers.append((b"content-length", str(len(body)).encode()))
            self.page = None
            await self._send({**start, "headers": headers})
            message = {"type": "http.response.body", "body": body}
        # A client that does not read keeps memory and a connection.
        await asyncio.wait_for(self._send(message), 3 * self.limits.idle)

    async def refuse(self, refusal: Refusal) -> None:
        """Sends a refusal, as a page to those who look at pages."""
        if self.begun:  # too late for another answer: the connection is cut
            raise ConnectionAbortedError(refusal.reason)
        if refusal.status == 401 and self.wants_page:
            kind, body = "text/html; charset=utf-8", _ASK
        elif self.wants_page:
            kind, body = "text/html; charset=utf-8", _PAGE.format(html.escape(refusal.reason))
        else:
            kind, body = "application/json", json.dumps({"error": refusal.reason})
        headers = {"content-type": kind, "content-length": str(len(body.encode())), **refusal.headers}
        pairs = [(key.encode(), value.encode()) for key, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body.encode()})


_PAGE = (
    "<!doctype html><html lang=en><meta name=viewport content='width=device-width'><title>undegrade</title>"
    "<style>body{{font:18px/1.5 system-ui,sans-serif;max-width:28em;margin:20vh auto;padding:0 1em}}"
    "input,button{{font:inherit;padding:.5em 1em}}</style><p>{}</p><p><a href=/>To the page</a></p></html>"
)
_ASK = _PAGE.format("This server asks for a token.").replace(
    "<p><a href=/>To the page</a></p>",
    "<form action=/><input name=token type=password autofocus aria-label=Token> <button>Enter</button></form>",
)


def _header(scope: Message, name: str) -> str:
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), "")


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_ours(origin: str, host: str) -> bool:
    """Whether a page of this origin came from this host; proxies add the usual port, which browsers leave out."""
    try:
        place = urlsplit(origin)
    except ValueError:
        return False
    usual = {"http": ":80", "https": ":443"}.get(place.scheme, "")
    return place.netloc.lower() in (host, host.removesuffix(usual))


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookie(scope: Message) -> str:
    """Our cookie; those of other servers of this machine stand beside it, in whatever form."""
    for pair in _header(scope, "cookie").split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == COOKIE and value.isascii():
            return value.strip()
    return ""


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """The texts in gradio's JSON with their keys, "" in lists; files are named by those under ``path``.

    Without recursion, because strangers nest as deep as they like.
    """
    rest = [("", value)]
    while rest:
        match rest.pop():
            case key, str() as text:
                yield key, text
            case _, dict() as one:
                rest += one.items()
            case _, list() as many:
                rest += (("", one) for one in many)


def _lies_in(path: str, folder: Path) -> bool:
    """Whether a path leads below a folder; there are no links in ours, so its name is enough."""
    name = Path(path)
    below = any(one in name.parents for one in (folder, folder.resolve()))
    return below and ".." not in name.parts


def _mb(size: int) -> str:
    return f"{size / (1 << 20):.3g} MB"
