"""The HTTP API: ``POST /api/restore`` and its siblings. The same wishes, queue and workers as the page."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from undegrade._version import __version__
from undegrade.core.errors import UndegradeError, one_line
from undegrade.core.formats import SUFFIXES
from undegrade.web import known
from undegrade.web.desk import BusyError, Desk, Job
from undegrade.web.guard import Refusal
from undegrade.web.limits import Limits
from undegrade.web.wish import Wish, make_wish
from undegrade.web.worker import Answer, Order

__all__ = ["make_api", "safe_suffix"]

SIGNATURES = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",
    b"GIF8": ".gif",
    b"BM": ".bmp",
}
"""First bytes of files, and of those that say their kind further on: at 8 after RIFF, at 4 of a box."""
BOXES = {b"WEBP": ".webp", b"ftypavif": ".avif", b"ftypavis": ".avif", b"ftypheic": ".heic", b"ftypheix": ".heic"}
SUBTYPES = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff", "hif": "heif"}
"""Of ``image/...``, where a suffix is not it. The tables of systems differ: many call WebP and AVIF text."""
STATUS = {"refused": 400, "broken": 500, "stopped": 503, "late": 504}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
POLL = 0.5
"""Seconds between two looks at whether a client is still there."""

_TEXT = {"description": "the reason, in one line", "content": {"application/json": {"example": {"error": "..."}}}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the restored picture, byte for byte what `undegrade restore` writes",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "X-Undegrade-Weights": {"description": "what did it", "schema": {"type": "string"}},
            "X-Undegrade-Notes": {"description": "what was changed on the way in", "schema": {"type": "string"}},
            "X-Undegrade-Found": {"description": "with task=auto: what was found", "schema": {"type": "string"}},
        },
    },
    400: {**_TEXT, "description": "no picture, one that cannot be read, or a wish that makes no sense; the reason"},
    401: {**_TEXT, "description": "the server asks for a token"},
    403: {**_TEXT, "description": "comes from another web site or under a foreign name"},
    408: {**_TEXT, "description": "sent too slowly"},
    413: {**_TEXT, "description": "too large"},
    500: {**_TEXT, "description": "our fault"},
    503: {**_TEXT, "description": "too many wait; Retry-After says when to try again"},
    504: {**_TEXT, "description": "took longer than the server's limit"},
}


def make_api(desk: Desk, limits: Limits, folder: Path) -> FastAPI:
    """The application with the API's routes.

    Args:
        desk: where orders go.
        limits: ``upload`` and ``pixels`` count here.
        folder: for the files of requests; each has its own folder below, gone when the answer is sent.
    """
    app = FastAPI(
        title="undegrade",
        version=__version__,
        summary="Image restoration",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )

    async def restore(request: Request) -> Response:
        """Restores one picture, sent as the form field `picture` (multipart/form-data), with the options beside it."""
        if desk.full:
            raise Refusal(503, "too many pictures wait already: try again in a moment", {"retry-after": "2"})
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            name, wish = await _received(request, place, limits)
            source = next((place / "in").iterdir())
            job = desk.submit(Order(source, place / "out", wish.for_load(), wish.keep_format, limits.pixels))
            answer = await _answer(job, desk, request)
            if answer.status != "done" or answer.path is None:
                again = {"retry-after": "5"} if STATUS[answer.status] == 503 else {}
                raise Refusal(STATUS[answer.status], answer.error, again)
            return _Once(answer.path, place, Path(name).stem, answer)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

    async def tasks() -> dict[str, Any]:
        """What can be taken away, with the parameters and the weights of each task."""
        return {"schema": 1, "tasks": known.tasks()}

    async def health() -> dict[str, Any]:
        """Whether the server is up, and how many pictures wait."""
        return {"schema": 1, "version": __version__, "waiting": desk.waiting, "queue": limits.queue}

    app.add_api_route(
        "/api/restore",
        restore,
        methods=["POST"],
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form()}}}},
    )
    _add_get(app, "/api/tasks", tasks)
    _add_get(app, "/api/health", health)
    _add_docs(app)
    app.add_api_route("/api/{rest:path}", _nothing, methods=list(METHODS), include_in_schema=False)
    _add_errors(app)
    return app


def _add_get(app: FastAPI, path: str, function: Callable[[], Any], shown: bool = True) -> None:
    """A route for GET, and for HEAD, which FastAPI does not answer by itself."""
    for method in ("GET", "HEAD"):
        app.add_api_route(
            path, function, methods=[method], response_model=None, include_in_schema=shown and method == "GET"
        )


async def _nothing() -> Response:
    raise Refusal(404, "there is nothing here: /api/docs tells what there is, POST /api/restore restores")


def safe_suffix(name: str) -> str:
    """The suffix of a visitor's file name, if it is one of pictures; nothing else of the name is used on disk."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in SUFFIXES else ""


def _suffix_of(start: bytes) -> str:
    """The suffix for a file that begins so; browsers call what has no name ``blob``."""
    boxes = (suffix for kind, suffix in BOXES.items() if kind in (start[8:12], start[4:12]))
    return next(boxes, "") or next((suffix for kind, suffix in SIGNATURES.items() if start.startswith(kind)), "")


async def _received(request: Request, place: Path, limits: Limits) -> tuple[str, Wish]:
    """The picture, written to ``place/in/picture.SUFFIX``; its own name and the wish."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(400, "send a form (multipart/form-data) with the file as picture: curl -F picture=@photo.jpg ...")
    if request.query_params:
        raise Refusal(
            400, "options belong into the form beside the picture, not into the address: curl -F task=denoise ..."
        )
    async with request.form(max_files=1, max_fields=20, max_part_size=10_000) as form:
        picture = form.get("picture")
        if not isinstance(picture, UploadFile):
            raise Refusal(400, "no file called picture in the form: curl -F picture=@photo.jpg ...")
        if (picture.size or 0) > limits.upload:
            raise Refusal(413, f"the picture has {picture.size} bytes, at most {limits.upload} are taken")
        start = await picture.read(12)
        await picture.seek(0)
        fields, name = {key: value for key, value in form.items() if key != "picture"}, picture.filename or "picture"
        "".join([name, *fields, *map(str, fields.values())]).encode()  # some charsets give what is no text: raises
        names = [name for name, _ in form.multi_items()]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise Refusal(400, f"{twice[:40]}: is in the form {names.count(twice)} times, give one")
        wish = make_wish(fields)
        target = place / "in" / f"picture{safe_suffix(name) or _suffix_of(start)}"
        await asyncio.to_thread(_copy, picture, target)
    return name, wish


def _copy(picture: UploadFile, target: Path) -> None:
    target.parent.mkdir()
    with target.open("wb") as file:
        shutil.copyfileobj(picture.file, file)


async def _answer(job: Job, desk: Desk, request: Request) -> Answer:
    """The desk's answer; the job is given up when the client is gone."""
    future = asyncio.wrap_future(job.future)
    try:
        while True:
            done, _ = await asyncio.wait({future}, timeout=POLL)
            if done:
                return future.result()
            if await request.is_disconnected():
                desk.cancel(job)
                # The files must stay until the worker has let go of them.
                return await future
    except asyncio.CancelledError:
        desk.cancel(job)
        raise


class _Once(FileResponse):
    """A result whose folder goes when it is sent, or when the client goes."""

    def __init__(self, path: Path, place: Path, stem: str, answer: Answer) -> None:
        name = f"{stem[:100] or 'picture'}.restored{path.suffix}"
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}", "cache-control": "no-store"}
        said = {"weights": ",".join(answer.weights), "notes": "; ".join(answer.notes), "found": _found(answer)}
        headers |= {f"x-undegrade-{key}": quote(text, safe=" ,;:=%()/.+-") for key, text in said.items() if text}
        kind = path.suffix[1:]
        super().__init__(path, headers=headers, media_type=f"image/{SUBTYPES.get(kind, kind)}")
        self.place = place

    async def __call__(self, *arguments: Any) -> None:
        try:
            await super().__call__(*arguments)
        finally:
            shutil.rmtree(self.place, ignore_errors=True)


def _found(answer: Answer) -> str:
    found = [str(report["auto"]["summary"]) for report in answer.reports if "auto" in report]
    return "; ".join(dict.fromkeys(found))


def _form() -> dict[str, Any]:
    """The form of ``POST /api/restore`` for the OpenAPI document, made from the wish."""
    schema = Wish.model_json_schema()
    picture = {"type": "string", "format": "binary", "description": "the picture's file"}
    return {"type": "object", "required": ["picture"], "properties": {"picture": picture, **schema["properties"]}}


def _add_docs(app: FastAPI) -> None:
    """The OpenAPI page: our own few lines of script, because the usual ones come from other hosts."""
    files = resources.files("undegrade.web") / "static"
    kinds = {"docs.html": "text/html", "docs.js": "text/javascript", "docs.css": "text/css"}

    def serve(name: str) -> Callable[[], Any]:
        text = (files / name).read_text(encoding="utf-8")

        async def answer() -> Response:
            return HTMLResponse(text) if name == "docs.html" else Response(text, media_type=kinds[name])

        return answer

    for name in kinds:
        _add_get(app, "/api/docs" if name == "docs.html" else f"/api/{name}", serve(name), shown=False)


def _add_errors(app: FastAPI) -> None:
    """Every refusal is JSON with the reason in one line."""

    async def refused(_: Request, error: Exception) -> Response:
        if isinstance(error, Refusal):
            return JSONResponse({"error": error.reason}, error.status, error.headers)
        if isinstance(error, BusyError):
            return JSONResponse({"error": str(error)}, 503, {"retry-after": "2"})
        if isinstance(error, HTTPException):
            return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)
        return JSONResponse({"error": one_line(error)}, 400)

    for kind in (Refusal, UndegradeError, HTTPException, MultiPartException, UnicodeError):
        app.add_exception_handler(kind, refused)

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_exception_handler(ClientDisconnect, gone)

    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"internal error, {type(error).__name__}"}, 500)

    app.add_exception_handler(Exception, broken)
