"""The page in a real browser: a picture is dropped, restored, compared, downloaded; nothing is asked of other hosts.

Needs playwright and a Chromium of the system (``make test-web`` installs both); ``UNDEGRADE_CHROMIUM`` names another.
"""

from __future__ import annotations

import base64
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from served import Served

pytest.importorskip("gradio", reason="pip install 'undegrade[web]'")
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

CHROMIUM = os.environ.get("UNDEGRADE_CHROMIUM") or next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

PATIENCE = 180_000
"""Milliseconds; a first restoration on a busy machine waits for torch."""
DROP = """([selector, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const area = document.querySelector(selector);
  for (const kind of ["dragenter", "dragover", "drop"])
    area.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as engine:
        made = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, server: Served) -> Iterator[Any]:
    """A page that notes what it asks for and what goes wrong."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    made = context.new_page()
    made.set_default_timeout(PATIENCE)
    made.asked, made.errors = [], []
    made.on("request", lambda one: made.asked.append(one.url))
    made.on("console", lambda one: made.errors.append(one.text) if one.type == "error" else None)
    made.on("pageerror", lambda error: made.errors.append(str(error)))
    yield made
    outside = [url for url in made.asked if not url.startswith((server.address, "data:", "blob:"))]
    assert outside == []
    assert made.errors == []
    context.close()


def shot(page: Any, name: str) -> None:
    """Keeps a picture of the page where ``UNDEGRADE_SHOTS`` says so."""
    if folder := os.environ.get("UNDEGRADE_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}-{page.viewport_size['width']}.png", full_page=True)


def wait_for_result(page: Any) -> None:
    """Until both pictures are there. They load when they come near the screen, so a phone has to scroll to them."""
    page.wait_for_selector(".ud-slider img", state="attached")
    page.evaluate("document.querySelector('.ud-slider').scrollIntoView()")
    page.wait_for_selector(".ud-slider img")


def test_drop_restore_slide_download(
    page: Any, server: Served, photo: Path, by_command: Callable[..., bytes], tmp_path: Path
) -> None:
    page.goto(server.address)
    page.wait_for_selector(".ud-start")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"
    content = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(DROP, [".ud-drop button", photo.name, content])
    page.get_by_label("What to take away").first.click()
    page.get_by_role("option", name="JPEG blocks").click()
    page.wait_for_selector(".ud-drop :text('.jpg')")
    page.wait_for_timeout(1000)  # a click that meets the closing of an answer's stream may get lost
    page.click("button.ud-start:visible")
    wait_for_result(page)
    assert "jpeg_artifacts_fast" in page.inner_text(".ud-status")
    page.wait_for_timeout(500)
    shot(page, "restored")

    before = clipped(page)
    page.locator(".ud-slider img").first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    box = page.locator(".ud-slider img").first.bounding_box()
    line = page.locator(".ud-slider [role=slider], .ud-slider .outer, .ud-slider .inner").first.bounding_box()
    page.mouse.move(line["x"] + line["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert clipped(page) != before, "the line does not move"

    before = scale(page)
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(500)
    assert scale(page) > before, "the wheel does not zoom"

    with page.expect_download() as waiting:
        page.click(".ud-download:visible")
    waiting.value.save_as(tmp_path / "result.png")
    assert waiting.value.suggested_filename.endswith("restored.png")
    assert (tmp_path / "result.png").read_bytes() == by_command(photo, "-t", "dejpeg")


def clipped(page: Any) -> str:
    """How the slider shows the upper picture just now."""
    return str(page.evaluate("document.querySelector('.ud-slider').innerHTML.replace(/blob:[^\"]*/g, '')"))


def scale(page: Any) -> float:
    """How much larger than it fits the upper picture is shown."""
    return float(page.evaluate("new DOMMatrix(getComputedStyle(document.querySelector('.ud-slider img')).transform).a"))


def test_the_keyboard_shows_where_it_is(page: Any, server: Served) -> None:
    page.goto(server.address)
    page.wait_for_selector(".ud-start")
    bare, reached = [], []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, ring = page.evaluate(
            """() => {
              const now = document.activeElement, style = getComputedStyle(now);
              const shadow = /1px inset/.test(style.boxShadow);  // gradio's sign for fields of numbers
              return [now.getAttribute("aria-label") || now.innerText, style.outlineStyle !== "none" || shadow];
            }"""
        )
        if page.evaluate("document.activeElement === document.body"):
            break  # once round
        reached.append(name)
        if not ring:
            bare.append(name)
    assert {"range slider for Strength", "What to take away", "Restore"} <= set(reached)
    assert bare == []


def test_half_the_strength(
    page: Any, server: Served, photo: Path, by_command: Callable[..., bytes], tmp_path: Path
) -> None:
    page.goto(f"{server.address}/jpeg_artifacts")
    page.wait_for_selector(".ud-start")
    page.set_input_files(".ud-drop input[type=file]", photo)
    page.wait_for_selector(".ud-drop :text('.jpg')")
    number = page.locator("input[type=number][aria-label*='Strength']:visible").first
    number.fill("0.5")
    number.press("Tab")
    page.click("button.ud-start:visible")
    wait_for_result(page)
    with page.expect_download() as waiting:
        page.click(".ud-download:visible")
    waiting.value.save_as(tmp_path / "half.png")
    assert (tmp_path / "half.png").read_bytes() == by_command(photo, "-t", "dejpeg", "--strength", "0.5")


def test_weights_set_the_scale_and_a_scale_lets_go_of_weights(page: Any, server: Served, photo: Path) -> None:
    page.goto(f"{server.address}/super_resolution")
    page.wait_for_selector(".ud-start")
    page.set_input_files(".ud-drop input[type=file]", photo)
    page.wait_for_selector(".ud-drop :text('.jpg')")
    page.get_by_role("button", name="More").locator("visible=true").click()
    weights = page.get_by_label("Weights").locator("visible=true").first
    three, four = (page.get_by_role("radio", name=name, exact=True).locator("visible=true").first for name in "34")
    weights.click()
    page.get_by_role("option", name="super_resolution_x3_fast").click()
    page.wait_for_function("radio => radio.checked", arg=three.element_handle())
    page.click("button.ud-start:visible")
    wait_for_result(page)
    assert "480 × 384 pixels, with super_resolution_x3_fast" in page.inner_text(".ud-status")
    four.click()
    page.wait_for_function("box => box.value.startsWith('The usual')", arg=weights.element_handle())


def test_trouble_is_told(page: Any, server: Served, tmp_path: Path) -> None:
    page.goto(f"{server.address}/denoising")
    page.wait_for_selector(".ud-sample img", state="attached")
    page.wait_for_timeout(500)  # a click that meets the closing of the first answer's stream may get lost
    page.click("button.ud-start:visible")
    page.wait_for_selector(".ud-trouble:has-text('Drop a picture first')")
    (tmp_path / "<b>broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    page.set_input_files(".ud-drop input[type=file]", tmp_path / "<b>broken.png")
    page.wait_for_selector(".ud-drop :text('broken')")
    page.click("button.ud-start:visible")
    page.wait_for_selector(".ud-trouble:has-text('damaged')")
    assert "/tmp" not in page.inner_text(".ud-trouble")


def test_sample_of_a_task(page: Any, server: Served) -> None:
    page.goto(f"{server.address}/deraining")
    page.wait_for_selector(".ud-sample img")
    page.wait_for_timeout(500)
    shot(page, "task")
    page.click("button.ud-take:visible")
    page.wait_for_selector(".ud-drop :text('deraining')")
    page.click("button.ud-start:visible")
    wait_for_result(page)


def test_many_pictures_come_back_in_a_zip(
    page: Any, server: Served, photo: Path, by_command: Callable[..., bytes], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:300])
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / photo.name
    twin.write_bytes(photo.read_bytes())
    page.goto(f"{server.address}/jpeg_artifacts")
    page.get_by_role("tab", name="Many pictures").click()
    page.set_input_files(".ud-drop-many input[type=file]", [photo, broken, twin])
    page.wait_for_selector(".ud-drop-many :text('broken')")
    page.click("button.ud-start-many:visible")
    page.wait_for_selector(":text('2 of 3 pictures restored')")
    shot(page, "many")
    assert "broken.jpg" in page.inner_text(".ud-failed")
    with page.expect_download() as waiting:
        page.click(".ud-download-many:visible")
    waiting.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert len(archive.namelist()) == 2
        assert {archive.read(name) for name in archive.namelist()} == {by_command(photo, "-t", "dejpeg")}


def test_what_goes_on_in_one_tab_does_not_concern_the_other(
    page: Any, server: Served, photo: Path, tmp_path: Path
) -> None:
    with Image.open(photo) as small:
        small.resize((800, 600)).save(tmp_path / "large.png")
    page.goto(f"{server.address}/jpeg_artifacts")
    page.get_by_role("tab", name="Many pictures").click()
    page.set_input_files(".ud-drop-many input[type=file]", [tmp_path / "large.png", photo])
    page.wait_for_selector(".ud-drop-many :text('large')")
    page.wait_for_timeout(1000)
    page.click("button.ud-start-many:visible")
    page.wait_for_selector(":text('1 of 2: large.png')")
    page.get_by_role("tab", name="One picture").click()
    page.set_input_files(".ud-drop input[type=file]", photo)
    page.wait_for_selector(".ud-drop :text('.jpg')")
    page.click("button.ud-start:visible")
    wait_for_result(page)
    page.get_by_role("tab", name="Many pictures").click()
    page.wait_for_selector(":text('2 of 2 pictures restored')")


def test_api_page(page: Any, server: Served, photo: Path) -> None:
    page.goto(f"{server.address}/api/docs")
    page.wait_for_selector("article:has-text('/api/restore')")
    page.set_input_files("input[name=picture]", photo)
    page.fill("input[name=task]", "derain")
    page.click("#form button")
    page.wait_for_selector("#answer:has-text('deraining_fast')")
    shot(page, "api")


def test_cancel(page: Any, server: Served, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as small:
        small.resize((800, 600)).save(tmp_path / "large.png")
    page.goto(f"{server.address}/denoising")
    page.wait_for_selector(".ud-start")
    page.set_input_files(".ud-drop input[type=file]", tmp_path / "large.png")
    page.wait_for_selector(".ud-drop :text('large')")
    page.get_by_role("button", name="More").first.click()
    page.get_by_label("Best quality").first.check()
    page.click("button.ud-start:visible")
    page.wait_for_selector(".ud-status:has-text(' left')")  # how long it will take
    page.click("button.ud-stop:visible")
    page.wait_for_selector(".ud-trouble:has-text('Cancelled')")
    assert page.is_visible("button.ud-start")
    assert not page.is_visible(".ud-download")
