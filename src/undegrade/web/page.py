"""The page for people: gradio's components, our texts and style, nothing from any other host."""

from __future__ import annotations

import html
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from undegrade._version import __version__
from undegrade.web.desk import Desk
from undegrade.web.known import offered, plain, weights
from undegrade.web.limits import Limits
from undegrade.web.panel import Panel
from undegrade.web.samples import FOLDER, Samples, sample

__all__ = ["add_page"]

TITLE = "undegrade"
MAIN = "Any picture"
HERO = (
    "<div class='ud-hero'><h1>Make pictures clear again</h1>"
    "<p>Takes out noise, rain, haze, snow, blur and JPEG blocks, and makes small pictures larger. Pictures are "
    "restored by the machine that runs this page and go nowhere else.</p></div>"
)


def add_page(app: FastAPI, desk: Desk, limits: Limits, folder: Path) -> list[str]:
    """Puts the page at ``/`` of ``app``, a page per task below it; returns their paths.

    Args:
        app: the application.
        desk: where pictures are restored.
        limits: caps.
        folder: for what the page keeps: uploads and results.
    """
    panel, samples = Panel(desk, limits, folder), Samples(desk, limits, folder / "samples")
    paths = []
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, limits.keep)) as blocks:
        gr.Navbar(main_page_name=MAIN)
        gr.Markdown(HERO)
        panel.build()
        _foot(limits)
        blocks.unload(panel.leave)
    for row in offered():
        if row["name"] == "auto":
            continue
        with blocks.route(plain(row["name"]), f"/{row['name']}"):
            gr.Navbar(main_page_name=MAIN)
            _task_page(row, panel, samples)
            _foot(limits)
        paths.append(f"/{row['name']}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "SSR mode")  # said although nobody asked for it
        _mount(app, blocks, limits)
    return paths


def _mount(app: FastAPI, blocks: Any, limits: Limits) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path="",
        footer_links=[],
        run_history=False,
        allowed_paths=[str(FOLDER)],
        show_error=True,
        max_file_size=limits.upload,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=_theme(),
        css=(resources.files("undegrade.web") / "static" / "page.css").read_text(encoding="utf-8"),
    )


def _task_page(row: dict[str, Any], panel: Panel, samples: Samples) -> None:
    name = row["name"]
    gr.Markdown(f"<div class='ud-hero'><h1>{html.escape(row['title'])}</h1><p>{html.escape(row['summary'])}</p></div>")
    drop = panel.build(name)
    if (path := sample(name)) is None:
        return
    gr.Markdown("<h2 class='ud-section'>A sample</h2>")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=300):
            view = gr.ImageSlider(
                label="Spoilt and restored",
                interactive=False,
                max_height=420,
                buttons=["fullscreen"],
                elem_classes="ud-sample",
            )
        with gr.Column(scale=4, min_width=300):
            gr.Markdown(_about(row))
            take = gr.Button("Take this picture to try", elem_classes="ud-take")

    async def shown() -> tuple[str, str] | None:
        return await samples.shown(name)

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    take.click(lambda: str(path), None, drop, **hidden)
    context = gr.context.Context.root_block
    context.load(shown, None, view, show_progress="minimal", api_visibility="private", concurrency_limit=None)


def _about(row: dict[str, Any]) -> str:
    """The weights of a task, their licence and limits, from their cards."""
    lines = []
    for one in weights(row["name"]):
        text = f"<b>{html.escape(one['name'])}</b><br>{html.escape(one['title'])}"
        if one["limits"]:
            text += f"<br><span class='ud-limits'>{html.escape(one['limits'])}</span>"
        lines.append(f"<li>{text}</li>")
    return f"<div class='ud-card'>Weights<ul class='ud-weights'>{''.join(lines)}</ul></div>"


def _foot(limits: Limits) -> None:
    gr.Markdown(
        f"<div class='ud-foot'>PNG, JPEG, WebP, TIFF, AVIF, BMP, GIF; up to {limits.upload / (1 << 20):.3g} MB and "
        f"{limits.pixels / 1e6:g} megapixels. 8 and 16 bits, transparency, EXIF and colour profile are kept. Files are "
        f"deleted after {limits.keep // 60} minutes. <a href='/api/docs'>HTTP API</a> · undegrade {__version__}</div>"
    )


def _theme() -> Any:
    """Fonts of the visitor's own system: none is fetched."""
    return gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        block_background_fill="white",
        body_text_color_subdued="*neutral_500",  # the theme's own is too pale to read
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        block_label_text_color="*primary_700",
        block_title_text_color="*primary_700",
    )
