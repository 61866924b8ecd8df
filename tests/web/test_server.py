"""The HTTP API of a real server: results, refusals, slow and vanishing clients."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image
from served import Served

from undegrade.core.errors import UsageError

pytest.importorskip("gradio", reason="pip install 'undegrade[web]'")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def client(server: Served) -> Any:
    with httpx.Client(base_url=server.address, timeout=120) as made:
        yield made


def png(size: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), "teal").save(file, "PNG")
    return file.getvalue()


def connect(server: Served) -> socket.socket:
    where = urlsplit(server.address)
    return socket.create_connection((where.hostname, where.port), timeout=60)


@pytest.mark.parametrize("keep", [False, True])
def test_same_bytes_as_the_command(client: Any, photo: Path, by_command: Callable[..., bytes], keep: bool) -> None:
    fields = {"task": "dejpeg", "strength": "0.7", "keep_format": str(keep).lower()}
    answer = client.post("/api/restore", files={"picture": (photo.name, photo.read_bytes())}, data=fields)
    assert answer.status_code == 200, answer.text
    expected = by_command(photo, "-t", "dejpeg", "--strength", "0.7", *(["--keep-format"] if keep else []))
    assert answer.content == expected
    name = unquote(answer.headers["content-disposition"])
    assert name.endswith("my phöto.restored.jpg" if keep else "my phöto.restored.png")
    assert answer.headers["x-undegrade-weights"] == "jpeg_artifacts_fast"
    assert Image.open(io.BytesIO(answer.content)).getexif()[0x010F] == "Camera maker"


def test_sixteen_bits_and_pages(client: Any, tmp_path: Path, by_command: Callable[..., bytes]) -> None:
    grey = np.random.default_rng(1).integers(0, 65536, (40, 50), dtype=np.uint16)
    pages = [Image.fromarray(grey), Image.fromarray(grey[:20])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    answer = client.post(
        "/api/restore", files={"picture": ("a.tif", (tmp_path / "a.tif").read_bytes())}, data={"task": "denoise"}
    )
    assert answer.content == by_command(tmp_path / "a.tif", "-t", "denoise")
    assert Image.open(io.BytesIO(answer.content)).mode == "I;16"


@pytest.mark.parametrize(
    ("name", "content", "fields", "status", "reason"),
    [
        ("a.png", b"no picture", {}, 400, "not a picture of a kind that is read"),
        ("a.png", b"", {}, 400, "is empty"),
        ("../../../etc/a.png", png()[:60], {}, 400, "truncated"),
        ("a.png", png(), {"task": "sr", "scale": "7"}, 400, "scale=7: choose one of 2, 3, 4"),
        ("a.png", png(), {"task": "derain", "sigma": "3"}, 400, "unknown parameter of deraining 'sigma'"),
        ("a.png", png(), {"url": "http://127.0.0.1/"}, 400, "unknown field 'url'"),
        ("a.png", png(2000), {}, 400, "4 megapixels, the limit is 0"),
        ("a.png", b"x" * (5 << 19), {}, 413, "at most"),
        ("a.png", b"x" * (9 << 20), {}, 413, "at most"),
    ],
)
def test_refusals_tell_the_reason(
    client: Any, name: str, content: bytes, fields: dict[str, str], status: int, reason: str
) -> None:
    answer = client.post("/api/restore", files={"picture": (name, content)}, data=fields)
    assert answer.status_code == status
    assert reason in answer.json()["error"]
    assert "/tmp" not in answer.text
    assert "undegrade-" not in answer.text


def test_forms_that_are_none(client: Any) -> None:
    for request in (
        {"content": b"x"},
        {"data": {"task": "denoise"}},
        {"json": {"picture": "http://127.0.0.1:1/a.png"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
        {"files": [("picture", png()), ("picture", png())]},
        {"files": {"other": png()}},
        {"files": {"picture": png()}, "params": {"task": "denoise"}},
        {"files": {"picture": png()}, "data": {"task": ["denoise", "dejpeg"]}},
    ):
        answer = client.post("/api/restore", **request)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]
    for path in ("/api/restore", "/api/nothing", "/api/"):
        answer = client.get(path)
        assert (answer.status_code, "/api/docs" in answer.json()["error"]) == (404, True)


def test_forms_in_other_spellings(client: Any) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="task"\r\n\r\ndejpeg\r\n'
    head += b'--b\r\nContent-Disposition: form-data; name="picture"; filename="a\\ud800.png"\r\n\r\n'
    content = head + png() + b"\r\n--b--\r\n"
    for kind, status in (("Multipart/Form-Data", 200), ("multipart/form-data; charset=unicode_escape", 400)):
        answer = client.post("/api/restore", content=content, headers={"content-type": f"{kind}; boundary=b"})
        assert answer.status_code == status, answer.text


def test_tasks_and_docs_need_nothing_from_outside(client: Any) -> None:
    tasks = client.get("/api/tasks").json()
    assert tasks["schema"] == 1
    assert next(row for row in tasks["tasks"] if row["name"] == "deraining")["weights"] == ["deraining_fast"]
    described = client.get("/api/openapi.json").json()
    form = described["paths"]["/api/restore"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"picture", "task", "strength", "weights", "keep_format"} <= set(form["properties"])
    statuses = {"200", "400", "401", "403", "408", "413", "500", "503", "504"}  # as docs/web.md
    assert set(described["paths"]["/api/restore"]["post"]["responses"]) == statuses
    for path in ("/api/docs", "/api/docs.js", "/api/docs.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("// Shows", "").replace("http://127", "")


@pytest.mark.parametrize(
    "path", ["/api/health", "/api/tasks", "/api/docs", "/api/docs.js", "/api/openapi.json", "/", "/deraining"]
)
def test_head_tells_what_get_would(client: Any, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert set(client.get("/api/openapi.json").json()["paths"].get(path, {"get": {}})) == {"get"}


def test_page_files_of_others_and_addresses_stay_shut(client: Any) -> None:
    assert client.get("/gradio_api/file=/etc/passwd").status_code == 403
    assert client.get("/gradio_api/file=" + str(Path(__file__))).status_code == 403
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.png"
        data = {"data": [{"path": address, "meta": {"_type": "gradio.FileData"}}], "fn_index": 1, "session_hash": "x"}
        assert client.post("/gradio_api/queue/join", json=data).status_code == 400
        with pytest.raises(TimeoutError):
            listener.accept()


def test_files_of_the_machine_are_not_restored_for_the_page(client: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    (mine,) = client.post("/gradio_api/upload", files={"files": ("a.png", png())}).json()
    page = client.get("/config").json()
    kinds = {one["id"]: one for one in page["components"]}
    run = next(one for one in page["dependencies"] if [kinds[i]["type"] for i in one["inputs"]][:1] == ["file"])
    rest = [kinds[i]["props"].get("value") for i in run["inputs"]][1:]

    def ask(path: str) -> Any:
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = {"data": [file, *rest], "fn_index": run["id"], "session_hash": "s"}
        return client.post("/gradio_api/queue/join", json=data)

    for path in (str(secret), os.path.relpath(secret), f"{Path(mine).parent}/../../../..{secret}", "/dev/zero", ""):
        answer = ask(path)
        assert (answer.status_code, "was not sent to this page" in answer.text) == (400, True), path
    assert ask(mine).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "s"}) as told:
        lines = [json.loads(line[5:]) for line in told.iter_lines() if line.startswith("data:")]
    assert any(line["msg"] == "process_completed" and line["success"] for line in lines)


def test_full_queue_is_503_and_nobody_is_lost(client: Any, photo: Path) -> None:
    picture = photo.read_bytes()

    def ask(_: int) -> Any:
        return client.post(
            "/api/restore", files={"picture": ("a.jpg", picture)}, data={"task": "dejpeg", "ensemble": "8"}
        )

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    busy = [answer for answer in answers if answer.status_code == 503]
    done = [answer for answer in answers if answer.status_code == 200]
    assert len(busy) + len(done) == 20
    assert len(done) >= 4
    assert busy
    assert all(int(answer.headers["retry-after"]) > 0 for answer in busy)
    assert len({answer.content for answer in done}) == 1


def test_cut_connections_leave_nothing_behind(server: Served, client: Any, photo: Path) -> None:
    picture = photo.read_bytes()
    head = (
        "POST /api/restore HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(picture) + 90}\r\n\r\n--b\r\n"
        'Content-Disposition: form-data; name="picture"; filename="a.jpg"\r\n\r\n'
    )
    for cut in (0, 100, len(picture) // 2):
        with connect(server) as line:
            line.sendall(head.encode() + picture[:cut])
    for _ in range(60):
        if client.get("/api/health").json()["waiting"] == 0:
            break
        time.sleep(0.5)
    answer = client.post("/api/restore", files={"picture": ("a.jpg", picture)}, data={"task": "dejpeg"})
    assert answer.status_code == 200


def test_ctrl_c_answers_and_removes_the_files(serve: Callable[..., Served]) -> None:
    served = serve("--token", "secret", "--timeout", "60")
    with httpx.Client(base_url=served.address, timeout=60) as client:
        assert client.get("/api/tasks").status_code == 401
        answer = client.get("/api/tasks", headers={"Authorization": "Bearer secret"})
        assert answer.status_code == 200
    served.process.send_signal(2)
    assert served.process.wait(60) in (0, 130, -2)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_ended_by_others_it_removes_the_files_too(
    serve: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # under nohup, the server would go on ignoring it
    try:
        served = serve()
    finally:
        signal.signal(number, before)
    assert list(tmp_path.glob("undegrade-*"))
    served.process.send_signal(number)
    assert served.process.wait(60) == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("undegrade-*"))


def test_what_the_machine_does_not_have_is_told_at_once(server: Served) -> None:
    from undegrade.web.server import serve

    def ready(address: str) -> None:
        raise AssertionError(f"it started at {address}")

    with pytest.raises(UsageError, match="device=nonsense: not available here"):
        serve("127.0.0.1", 0, device="nonsense", ready=ready)
    with pytest.raises(UsageError, match="choose another --port or --host"):
        serve("127.0.0.1", urlsplit(server.address).port or 0, ready=ready)


def test_a_port_is_taken_before_the_page_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from undegrade.web import server as servers

    class StopError(Exception):
        pass

    def made(*_: object, **__: object) -> None:
        raise StopError

    opened: list[socket.socket] = []
    real = socket.socket
    monkeypatch.setattr(servers, "make_app", made)
    monkeypatch.setattr(servers, "Desk", lambda *_: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(servers.socket, "socket", lambda *kind: opened.append(real(*kind)) or opened[-1])
    with pytest.raises(StopError):
        servers.serve("127.0.0.1", 0)
    (listening,) = opened
    assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    listening.close()


@pytest.mark.parametrize(("host", "port"), [("a..b", 0), ("127.0.0.1", 70_000)])
def test_places_that_nobody_can_listen_at(host: str, port: int) -> None:
    from undegrade.web.server import serve

    with pytest.raises(UsageError, match="cannot listen there"):
        serve(host, port)


def test_nobody_shares_the_port_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    from undegrade.web import server as servers

    # Stands for the option that only Windows has.
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with servers._listening("127.0.0.1", 0) as listening:
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_an_old_file_in_use_stays_until_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from undegrade.web.server import _Kept

    (tmp_path / "a.png").write_bytes(b"12")
    os.utime(tmp_path / "a.png", (0, 0))

    def in_use(*_: object, **__: object) -> None:
        raise PermissionError("in use")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", in_use)
        assert _Kept(tmp_path, keep=100)() == 2
    assert _Kept(tmp_path, keep=100)() == 0


def test_old_files_go_although_nobody_comes() -> None:
    from undegrade.web.server import CLEAR, _Server

    looked: list[int] = []
    server = _Server(uvicorn.Config(app=lambda: None), lambda: None, clear=lambda: looked.append(1), end=lambda: None)
    for counter in range(CLEAR + 1):
        asyncio.run(server.on_tick(counter))
    assert len(looked) == 2


def test_old_files_go_and_then_their_folders(tmp_path: Path) -> None:
    from undegrade.web.server import _Kept

    for name in ("old/in/a.png", "new/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "waits").mkdir()  # of a job whose result is not there yet
    look = _Kept(tmp_path, keep=100, every=0)
    assert look() == 4
    hour = time.time() - 3600
    for name in ("old/in/a.png", "old/in", "old", "."):
        os.utime(tmp_path / name, (hour, hour))
    assert look() == 2
    os.utime(tmp_path / "old/in", (hour, hour))  # the file went a while ago
    os.utime(tmp_path / "old", (hour, hour))
    look()
    os.utime(tmp_path / "old", (hour, hour))
    look()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "waits"]


def test_page_of_every_task(client: Any) -> None:
    tasks = json.loads(client.get("/api/tasks").text)["tasks"]
    for row in tasks:
        if row["weights"] and row["name"] != "auto":
            assert client.get(f"/{row['name']}").status_code == 200


def test_a_second_request_is_not_waited_for_longer_than_the_first() -> None:
    from undegrade.web.server import _patient

    async def answered(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def until_closed() -> None:
        """Waits for the end of connections that send a part of a first and of a second request, no more than that."""
        config = uvicorn.Config(answered, http=_patient(0.5), timeout_keep_alive=600, lifespan="off", log_level="error")
        config.load()
        state = uvicorn.server.ServerState()
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: config.http_protocol_class(config, state, {}), "127.0.0.1", 0)
        for whole in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
            reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
            if whole:
                writer.write(whole)
                assert b"200" in await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.2)
            writer.write(b"GET / HTTP/1.1\r\nX-a: ")
            assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()
        listening.close()

    asyncio.run(until_closed())


def test_a_name_without_a_suffix_keeps_the_format_too(client: Any, photo: Path) -> None:
    form = {"task": "denoise", "keep_format": "true"}
    answer = client.post("/api/restore", files={"picture": ("blob", photo.read_bytes())}, data=form)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")


def test_the_header_names_what_auto_chose(client: Any, photo: Path) -> None:
    answer = client.post("/api/restore", files={"picture": ("a.jpg", photo.read_bytes())})
    assert "denoising" in answer.headers["x-undegrade-weights"]


def test_a_too_large_picture_is_not_told_of_options(client: Any) -> None:
    answer = client.post("/api/restore", files={"picture": ("a.png", png(1000))}, data={"task": "denoise"})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("this server takes no larger ones")
    gif = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(gif, "GIF")
    form = {"task": "denoise", "keep_format": "true"}
    kept = client.post("/api/restore", files={"picture": ("a.gif", gif.getvalue())}, data=form)
    assert kept.json()["error"].endswith("let it become PNG, without keep-format")
    empty = client.post("/api/restore", files={"picture": ("a.png", b"")}, data={"task": "denoise"})
    assert empty.json()["error"].startswith("the picture: ")


def test_who_waits_when_the_server_ends_is_told(serve: Callable[..., Served], photo: Path) -> None:
    served = serve()
    form = {"task": "denoise", "weights": "denoising_best", "ensemble": "8"}
    large = io.BytesIO()
    Image.open(photo).resize((1600, 1280)).save(large, "PNG")

    def ask(_: int) -> Any:
        return httpx.post(
            f"{served.address}/api/restore", files={"picture": ("a.png", large.getvalue())}, data=form, timeout=120
        )

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(ask, number) for number in range(3)]
        for _ in range(200):
            if httpx.get(f"{served.address}/api/health").json()["waiting"] == 2:
                break
            time.sleep(0.1)
        served.process.send_signal(2)
        got = [answer.result() for answer in answers]
    assert [(answer.status_code, answer.json()) for answer in got] == [(503, {"error": "the server is going down"})] * 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in got)
    served.process.wait(60)


def test_results_are_images_whatever_the_system_knows_of_types(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from starlette import responses

    from undegrade.core.formats import SUFFIXES
    from undegrade.web.http import _Once
    from undegrade.web.worker import Answer

    monkeypatch.setattr(responses, "guess_type", lambda *_: (None, None))
    kinds = {suffix: _Once(tmp_path / f"a{suffix}", tmp_path, "a", Answer("done")).media_type for suffix in SUFFIXES}
    assert {kinds[suffix] for suffix in (".jpg", ".jpe", ".jfif", ".jpeg")} == {"image/jpeg"}
    assert (kinds[".webp"], kinds[".tif"], kinds[".hif"]) == ("image/webp", "image/tiff", "image/heif")
    assert all(str(kind).startswith("image/") for kind in kinds.values())


def test_our_own_faults_are_json_too(tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from undegrade.web.http import make_api
    from undegrade.web.limits import Limits

    desk: Any = SimpleNamespace(full=False)
    client = TestClient(make_api(desk, Limits(), tmp_path / "gone"), raise_server_exceptions=False)
    answer = client.post("/api/restore", files={"picture": ("a.png", png())})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error, FileNotFoundError"})


def test_files_of_a_long_run_stay_young(tmp_path: Path) -> None:
    from undegrade.web.panel import _Run
    from undegrade.web.wish import make_wish

    file = tmp_path / "a.png"
    file.write_bytes(b"1")
    os.utime(file, (0, 0))
    run = _Run(make_wish({}), files=[file, tmp_path / "gone.png"])
    run.hold(keep=1000)
    assert file.stat().st_mtime == 0
    run.held -= 101
    run.hold(keep=1000)
    assert time.time() - file.stat().st_mtime < 60
