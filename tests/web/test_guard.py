"""The guard: an ASGI application that shows what passes, and everything that must not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from undegrade.web.guard import Guard
from undegrade.web.limits import Limits

Message = dict[str, Any]
HTML = b"<html><script>1</script><script src=x></script></html>"


async def echo(scope: Message, receive: Any, send: Any) -> None:
    """Reads the body; a page for GET, the size of the body for others."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body, kind = (HTML, b"text/html") if scope["method"] == "GET" else (str(size).encode(), b"text/plain")
    headers = [(b"content-type", kind), (b"server", b"x"), (b"access-control-allow-origin", b"*")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def ask(
    guard: Guard,
    method: str = "GET",
    path: str = "/",
    body: tuple[bytes, ...] = (b"",),
    query: str = "",
    pause: float = 0,
    scheme: str = "http",
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    given = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "scheme": scheme,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    parts, sent = list(body), list[Message]()

    async def receive() -> Message:
        await asyncio.sleep(pause)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def test_security_headers_and_nonce() -> None:
    guard = Guard(echo, Limits())
    status, headers, body = ask(guard)
    assert status == 200
    nonce = headers["content-security-policy"].split("'nonce-")[1].split("'")[0]
    assert body.count(f'<script nonce="{nonce}"'.encode()) == 2
    assert headers["content-length"] == str(len(body))
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "unsafe-eval" not in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert not {"server", "access-control-allow-origin"} & set(headers)
    assert nonce not in ask(guard)[1]["content-security-policy"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:7860", "192.168.1.7", "box.local", "BOX.local:80"])
def test_own_names(host: str) -> None:
    assert ask(Guard(echo, Limits(), hosts=["box.local"]), host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "", "127.0.0.1.evil.example", "[", "localhost.x"]
)
def test_foreign_names_are_refused(host: str) -> None:
    assert ask(Guard(echo, Limits()), host=host)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_posts_from_other_sites_are_refused(headers: dict[str, str]) -> None:
    guard = Guard(echo, Limits())
    assert ask(guard, "POST", "/api/restore", **headers)[0] == 403
    assert ask(guard, "POST", "/api/restore", origin="http://127.0.0.1:7860", sec_fetch_site="same-origin")[0] == 200
    assert ask(guard, "POST", "/api/restore")[0] == 200


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://box.local", "box.local:443", 200),
        ("http://box.local", "box.local:80", 200),
        ("http://box.local", "box.local:443", 403),
        ("https://box.local:444", "box.local:443", 403),
        ("box.local", "box.local", 403),
        ("https://", "box.local:443", 403),
    ],
)
def test_the_usual_port_may_be_named(origin: str, host: str, status: int) -> None:
    assert (
        ask(Guard(echo, Limits(), hosts=["box.local"]), "POST", "/api/restore", origin=origin, host=host)[0] == status
    )


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://x.hf.space/a",
        "/gradio_api/file=http://169.254.169.254/",
        "/gradio_api/vibe-edit/",
        "/monitoring",
        "/gradio_api/call/run",
        "/svelte/x",
        "/nothing",
    ],
)
def test_paths_that_stay_shut(path: str) -> None:
    status, _, body = ask(Guard(echo, Limits()), path=path)
    assert status == 404
    assert "error" in json.loads(body)


def test_addresses_in_gradio_files_are_refused() -> None:
    guard, path = Guard(echo, Limits()), "/gradio_api/queue/join"
    for address in ("http://127.0.0.1:1/x.png", "https://example.org/", "HTTP://x", "file:///etc/passwd"):
        body = json.dumps({"data": [[{"path": address, "meta": {"_type": "gradio.FileData"}}]]}).encode()
        status, _, answer = ask(guard, "POST", path, (body[:9], body[9:]))
        assert (status, "not fetched" in answer.decode()) == (400, True)
    good = json.dumps({"data": [{"path": "/tmp/a.png", "url": "http://127.0.0.1:7860/gradio_api/file=/tmp/a.png"}]})
    assert ask(guard, "POST", path, (good.encode(),))[::2] == (200, str(len(good)).encode())
    assert ask(guard, "POST", path, (b"{",))[0] == 400
    assert ask(guard, "POST", path, (b"[" * 500_000,))[0] == 400
    for deep in (400, 600, 900):  # what json still reads
        assert ask(guard, "POST", path, (b"[" * deep + b"]" * deep,))[0] == 200


def test_files_in_gradio_lie_in_our_folder(tmp_path: Path) -> None:
    guard, path = Guard(echo, Limits(), folder=tmp_path), "/gradio_api/queue/join"
    good = [f"{tmp_path}/a/b.png", str(tmp_path.resolve() / "ü.png")]
    bad = [
        "/etc/passwd",
        f"{tmp_path}x/b.png",
        f"{tmp_path}/../b.png",
        f"{tmp_path}/a/../../b.png",
        "b.png",
        "",
        str(tmp_path),
        f"{tmp_path}/\0",
    ]
    for name in (*good, *bad):
        body = json.dumps({"data": [{"a": [{"path": name}]}]}).encode()
        assert ask(guard, "POST", path, (body,))[0] == (200 if name in good else 400), name


def test_nothing_gets_into_the_log_that_moves_its_lines() -> None:
    guard, path = Guard(echo, Limits()), "/gradio_api/queue/join"
    for text in ("a\nb", "\x1b[2J", "a\0", "\x9b2J"):
        assert ask(guard, "POST", path, (json.dumps({"data": [text]}).encode(),))[0] == 400
    named = json.dumps({"data": [{"path": "/tmp/a.png", "orig_name": "a\nb.png"}, "ü\xa0"]}).encode()
    assert ask(guard, "POST", path, (named,))[0] == 200


def test_files_are_sent_whole() -> None:
    seen: list[bytes] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.extend(key for key, _ in scope["headers"])
        await echo(scope, receive, send)

    assert ask(Guard(app, Limits()), path="/gradio_api/file=/tmp/a.png", range="bytes=0-1,3-4", cookie="a=b")[0] == 200
    assert (b"cookie" in seen, b"range" in seen) == (True, False)


def test_sizes() -> None:
    limits = Limits(upload=1000, request=2_000_000, in_flight=3_000_000)
    guard = Guard(echo, limits)
    assert ask(guard, "POST", "/api/restore", content_length="99999999")[0] == 413
    assert ask(guard, "POST", "/api/restore", (b"x" * 1_000_000, b"x" * 100_000))[0] == 413  # unannounced
    assert ask(guard, "POST", "/gradio_api/upload", (b"x" * 1_900_000,))[0] == 200
    assert ask(guard, "POST", "/gradio_api/upload", (b"x" * 2_000_001,))[0] == 413
    assert ask(guard, "POST", "/gradio_api/queue/join", (b" " * 1_100_000,))[0] == 413
    assert guard.in_flight == 0
    guard.in_flight = 2_999_000
    status, headers, _ = ask(guard, "POST", "/api/restore", (b"x" * 5000,))
    assert (status, headers["retry-after"]) == (503, "5")
    assert guard.in_flight == 2_999_000
    assert ask(Guard(echo, limits, kept=lambda: 1 << 60), "POST", "/gradio_api/upload")[0] == 503
    large = Guard(echo, Limits(upload=1_000_000, request=1000, in_flight=1000))  # one picture is always taken
    assert ask(large, "POST", "/gradio_api/upload", (b"x" * 1_000_000,))[0] == 200
    assert ask(large, "POST", "/api/restore", (b"x" * 1_000_000,))[0] == 200


def test_silence_and_trickle_are_given_up() -> None:
    guard = Guard(echo, Limits(idle=0.05))
    assert ask(guard, "POST", "/api/restore", (b"x", b"y"), pause=0.5)[0] == 408
    slow = tuple([b"x"] * 20)
    assert ask(Guard(echo, Limits(idle=0.2, rate=1000)), "POST", "/api/restore", slow, pause=0.03)[0] == 408


def test_who_is_answered_before_the_end_is_hung_up_on() -> None:
    guard, limits = Guard(echo, Limits(idle=0.2)), Limits(upload=1, request=1, idle=0.2)
    assert ask(guard, "POST", "/api/restore", (b"x", b"y"))[1].get("connection") is None
    assert ask(guard, content_length="0")[1].get("connection") is None
    # What comes at once is taken in, so that the answer arrives; what does not come is not waited for.
    assert ask(guard, "POST", "/nothing", (b"x", b"y"))[1].get("connection") is None
    assert ask(guard, "POST", "/nothing", (b"x", b"y"), pause=0.15)[1]["connection"] == "close"
    big = ask(Guard(echo, limits), "POST", "/gradio_api/upload", (b"xx", b"y"), content_length=str(2 << 20))
    assert (big[0], big[1]["connection"]) == (413, "close")
    assert ask(guard, "POST", "/api/restore", content_length="x")[0] == 200
    # Who waits to be invited is not invited to send what nobody wants.
    assert ask(guard, "POST", "/nothing", (b"x", b"y"), expect="100-Continue")[1]["connection"] == "close"
    assert ask(guard, "POST", "/api/restore", (b"x", b"y"), expect="100-Continue")[::2] == (200, b"2")


def test_token() -> None:
    guard = Guard(echo, Limits(), token="höchst geheim")
    assert ask(guard)[0] == 401
    assert b"<form" in ask(guard, accept="text/html")[2]
    assert ask(guard, "POST", "/api/restore")[0] == 401
    assert ask(guard, authorization="Bearer wrong")[0] == 401
    assert ask(guard, authorization="Bearer höchst geheim")[0] == 200
    status, headers, _ = ask(guard, query="token=h%C3%B6chst+geheim")
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in headers["set-cookie"].split(";")}
    assert "Secure" not in headers["set-cookie"]  # which browsers would not send back
    assert ask(guard, query="token=h%C3%B6chst+geheim", scheme="https")[1]["set-cookie"].endswith("; Secure")
    cookie = headers["set-cookie"].split(";")[0]
    assert "geheim" not in cookie
    assert ask(guard, "POST", "/api/restore", cookie=cookie)[0] == 200
    assert ask(guard, cookie="undegrade_token=x")[0] == 401
    assert ask(Guard(echo, Limits(), token="abc"), authorization="Bearer abc")[0] == 200


def test_what_a_request_says_is_text_on_the_page_that_refuses_it() -> None:
    status, headers, body = ask(Guard(echo, Limits()), host="<script>x", accept="text/html")
    assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert b"&lt;script&gt;x" in body
    assert b"<script" not in body


def test_a_page_is_asked_for_by_get_where_its_head_is_wanted() -> None:
    assert ask(Guard(echo, Limits()), "HEAD")[2].startswith(b"<html>")
    assert ask(Guard(echo, Limits()), "HEAD", "/api/tasks")[2] == b"0"


def test_no_web_sockets() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Guard(echo, Limits())({"type": "websocket"}, None, send))  # type: ignore[arg-type]
    assert sent[0]["type"] == "websocket.close"


@pytest.mark.parametrize("other", ['prefs={"a":1}', "foo[bar]=1", "x=a b", "n=\xfc", "flag", "path=abc"])
def test_cookies_of_other_servers_do_not_hide_ours(other: str) -> None:
    guard = Guard(echo, Limits(), token="abc")
    ours = ask(guard, query="token=abc")[1]["set-cookie"].split(";")[0]
    assert ask(guard, cookie=f"{other}; {ours}".encode().decode("latin-1"))[0] == 200
    assert ask(guard, cookie=f"{ours};{other}")[0] == 200


@pytest.mark.parametrize("given", ["bearer abc", "BEARER  abc ", "Bearer abc"])
def test_the_scheme_of_a_token_may_be_written_in_any_case(given: str) -> None:
    assert ask(Guard(echo, Limits(), token="abc"), authorization=given)[0] == 200


def test_what_has_come_whole_is_on_its_way_no_longer() -> None:
    seen: list[int] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        seen.append(guard.in_flight)
        await receive()
        seen.append(guard.in_flight)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(app, Limits())
    assert ask(guard, "POST", "/api/restore", (b"x" * 1000, b"y"))[0] == 200
    assert seen == [1000, 0]
