"""Pictures of every kind: what goes in comes out as the same kind, depth and layout."""

from __future__ import annotations

import io
import os
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from undegrade.core import decode, image
from undegrade.core.errors import InputError, UsageError
from undegrade.graphs._graph import quiet


def array(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    values = np.random.default_rng(0).random(shape)
    if np.issubdtype(dtype, np.integer):
        values = np.rint(values * np.iinfo(dtype).max)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4), (1, 1, 3)])
def test_array_comes_back_as_it_was(shape: tuple[int, ...], dtype: type) -> None:
    source = array(shape, dtype)
    picture = image.read(source)
    assert picture.pixels.dtype == torch.float32
    assert picture.pixels.shape == (3 if len(shape) == 3 and shape[2] > 2 else 1, *shape[:2])
    assert (picture.alpha is None) == (len(shape) == 2 or shape[2] in (1, 3))
    back = image.like(picture, picture.pixels)
    assert back.dtype == source.dtype
    assert np.array_equal(back, source)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (3, 5, 7), (4, 5, 7)])
def test_tensor_comes_back_as_it_was(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    source = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    source = (source * 255).round().to(dtype) if dtype == torch.uint8 else source.to(dtype)
    picture = image.read(source)
    back = image.like(picture, picture.pixels)
    assert back.dtype == dtype
    assert torch.allclose(back.double(), source.double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("shape", [(0, 7, 3), (5, 0)])
def test_pictures_without_pixels_are_refused_as_such(shape: tuple[int, ...]) -> None:
    for source in (np.zeros(shape, np.uint8), torch.zeros(shape[::-1], dtype=torch.uint8)):
        with pytest.raises(InputError, match="there is no picture in it"):
            image.read(source)


def test_tensors_whose_samples_cannot_be_read_are_refused() -> None:
    with pytest.raises(InputError, match="device meta: it holds no samples"):
        image.read(torch.zeros(3, 5, 7, device="meta"))
    with pytest.raises(InputError, match=r"torch\.sparse_coo: must be dense; call its to_dense\(\)"):
        image.read(torch.zeros(3, 5, 7).to_sparse())


def test_floats_are_neither_clipped_nor_rounded() -> None:
    source = np.array([[[-1.7, 0.123456789, 2.4]]])
    picture = image.read(source)
    assert torch.equal(picture.pixels.flatten(), torch.tensor([-1.7, 0.123456789, 2.4]))
    back = image.like(picture, picture.pixels)
    assert back.dtype == np.float64
    assert np.abs(back - source).max() < 1e-7


def test_integers_are_clipped_and_rounded_once() -> None:
    picture = image.read(np.zeros((1, 4), np.uint8))
    pixels = torch.tensor([[[-0.3, 1.2, 100.4 / 255, 100.6 / 255]]])
    assert image.like(picture, pixels).tolist() == [[0, 255, 100, 101]]


def test_bool_array_becomes_eight_bits() -> None:
    picture = image.read(np.array([[True, False]]))
    assert image.like(picture, picture.pixels * 0.5).tolist() == [[128, 0]]


def test_grey_becomes_colour_when_the_result_has_three_channels() -> None:
    picture = image.read(array((6, 4), np.uint8))
    assert image.like(picture, picture.pixels.expand(3, -1, -1)).shape == (6, 4, 3)


def test_alpha_follows_the_size() -> None:
    source = array((6, 4, 4), np.uint8)
    source[..., 3] = 200
    picture = image.read(source)
    back = image.like(picture, torch.nn.functional.interpolate(picture.pixels[None], scale_factor=2)[0])
    assert back.shape == (12, 8, 4)
    assert (back[..., 3] == 200).all()
    edge = image.Picture(torch.zeros(3, 4, 6), alpha=torch.tensor([0.0, 1.0]).repeat_interleave(3).expand(1, 4, -1))
    alpha = edge.with_pixels(torch.zeros(3, 8, 12)).alpha
    assert alpha is not None
    assert (float(alpha.min()), float(alpha.max())) == (0, 1)  # cubics overshoot


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("1", "L"),
        ("L", "L"),
        ("LA", "LA"),
        ("P", "RGB"),
        ("RGB", "RGB"),
        ("RGBA", "RGBA"),
        ("RGBX", "RGB"),
        ("CMYK", "RGB"),
        ("YCbCr", "RGB"),
        ("I;16", "I;16"),
        ("I;16B", "I;16"),
    ],
)
def test_pil_modes(mode: str, result: str) -> None:
    if mode.startswith("I;16"):
        source = Image.fromarray(array((5, 7), np.uint16))
        if mode == "I;16B":
            source = Image.frombytes("I;16B", source.size, np.asarray(source).astype(">u2").tobytes())
    else:
        source = Image.fromarray(array((5, 7, 3), np.uint8)).convert(mode)
    picture = image.read(source)
    back = image.like(picture, picture.pixels)
    assert back.mode == result
    assert back.size == (7, 5)
    if mode not in ("CMYK", "YCbCr"):
        same = source.convert(result) if not mode.startswith("I") else source
        assert np.array_equal(np.asarray(back), np.asarray(same))
    assert bool(picture.notes) == (mode == "CMYK")


def test_palette_with_transparency_becomes_rgba() -> None:
    source = Image.fromarray(array((5, 7, 3), np.uint8)).quantize(8)
    source.info["transparency"] = 3
    picture = image.read(source)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha[0].numpy() == 0, np.asarray(source) == 3)
    assert image.like(picture, picture.pixels).mode == "RGBA"


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pil_modes_that_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match=f"mode {mode}"):
        image.read(Image.new(mode, (3, 4)))


def test_pil_source_is_left_alone() -> None:
    source = Image.new("RGB", (3, 5))
    exif = source.getexif()
    exif[274], exif[271] = 6, "maker"
    picture = image.read(source)
    assert picture.size == (3, 5)  # height and width, upright
    assert source.size == (3, 5)  # width and height, as it was
    assert source.getexif()[274] == 6
    back = image.like(picture, picture.pixels)
    assert back.size == (5, 3)
    assert 274 not in back.getexif()
    assert back.getexif()[271] == "maker"


def test_bytes_come_back_as_bytes_of_the_same_format() -> None:
    for kind, expected in (("PNG", "PNG"), ("TIFF", "TIFF"), ("WEBP", "WEBP"), ("BMP", "BMP"), ("GIF", "PNG")):
        file = io.BytesIO()
        Image.fromarray(array((5, 7, 3), np.uint8)).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
        picture = image.read(file.getvalue())
        back = image.like(picture, picture.pixels)
        assert isinstance(back, bytes)
        with Image.open(io.BytesIO(back)) as read:
            assert read.format == expected
            with Image.open(file) as source:
                assert np.array_equal(np.asarray(read.convert("RGB")), np.asarray(source.convert("RGB")))


def test_picture_in_picture_out() -> None:
    picture = image.read(array((5, 7, 4), np.uint16))
    back = image.like(image.read(picture), 1 - picture.pixels)
    assert isinstance(back, image.Picture)
    assert back.dtype == "uint16"
    assert torch.equal(back.pixels, 1 - picture.pixels)


def test_sixteen_bit_colour_file_given_by_path_warns(tmp_path: Path) -> None:
    picture = image.read(array((5, 7, 3), np.uint16))
    image.save(picture, tmp_path / "a.png")
    again = image.read(tmp_path / "a.png")
    assert again.dtype == "uint16"
    with pytest.warns(UserWarning, match="16-bit colour"):
        back = image.like(again, again.pixels)
    assert back.mode == "RGB"
    image.save(image.read(array((5, 7), np.uint16)), tmp_path / "grey.png")
    grey = image.read(tmp_path / "grey.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.like(grey, grey.pixels).mode == "I;16"


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros((3, 5, 7), np.uint8), InputError, r"\(H, W, C\)"),
        (np.zeros((0, 5, 3), np.uint8), InputError, r"\(0, 5, 3\)"),
        (np.zeros((5, 7), np.int32), InputError, "int32"),
        (np.full((5, 7), 255.0), InputError, "divide by 255"),
        (np.full((5, 7), np.nan), InputError, "finite"),
        (torch.zeros(2, 3, 5, 7), InputError, r"\(C, H, W\)"),
        (torch.zeros(5, 7, dtype=torch.int64), InputError, "int64"),
        (3.5, UsageError, "float"),
        (b"hello", InputError, "not a picture"),
        (Path("there/is/none.png"), InputError, "no such file"),
        ("", InputError, "an empty file name"),
        (Path(), InputError, "is a folder"),
        (Image.new("RGB", (0, 8)), InputError, "0 x 8 pixels"),
    ],
)
def test_what_is_no_picture(source: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        image.read(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 3, 5, 7), (5, 7)])
def test_like_checks_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="1 or 3"):
        image.like(image.read(np.zeros((5, 7), np.uint8)), torch.zeros(shape))


def test_frames_of_a_pil_image_and_of_what_has_none():
    file = io.BytesIO()
    pages = [Image.new("L", (8, 8), level) for level in (20, 120, 220)]
    pages[0].save(file, "GIF", save_all=True, append_images=pages[1:])
    opened = Image.open(file)
    assert round(float(image.read(opened, frame=2).pixels.mean()) * 255) == 220
    assert opened.tell() == 0
    with pytest.raises(UsageError, match="frame=3: the image holds 3"):
        image.read(opened, frame=3)
    for source, frame in ((np.zeros((4, 4, 3), np.uint8), 0), (file.getvalue(), "x"), (file.getvalue(), 1.5)):
        with pytest.raises(UsageError, match="a whole number, of files and PIL images"):
            image.read(source, frame=frame)


def test_a_pil_image_whose_file_is_cut_or_closed():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(file, "PNG")
    with pytest.raises(InputError, match="the PIL image is damaged or closed"):
        image.read(Image.open(io.BytesIO(file.getvalue()[:3000])))


def test_a_pil_image_stays_at_its_frame_when_another_cannot_be_read():
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "TIFF", save_all=True, append_images=[Image.new("F", (8, 8))])
    opened = Image.open(file)
    with pytest.raises(InputError, match="mode F"):
        image.read(opened, frame=1)
    assert opened.tell() == 0


@pytest.mark.parametrize("error", [EOFError, RuntimeError, SystemError, zlib.error])  # all met in damaged files
def test_whatever_pillow_raises_on_damaged_pixels_is_one_line(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    opened = Image.open(file)

    def load() -> None:
        raise error("no more\ndata")

    monkeypatch.setattr(opened, "load", load)
    with pytest.raises(InputError, match=r"damaged or closed \(no more data\)"):
        image.read(opened)


def test_warnings_stay_as_they_were_when_another_thread_records_a_network() -> None:
    before = list(warnings.filters)
    decoding, recording, decoded = threading.Event(), threading.Event(), threading.Event()

    def decode_slowly() -> None:
        with decode._in("a picture", 1):
            decoding.set()
            recording.wait(0.2)
        decoded.set()

    def record() -> None:
        decoding.wait()
        with quiet():
            recording.set()
            decoded.wait()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(decode_slowly), pool.submit(record)]:
            done.result()
    assert list(warnings.filters) == before


def test_paths_of_any_kind(tmp_path: Path) -> None:
    class Place:
        def __fspath__(self) -> bytes:
            return os.fsencode(tmp_path / "a.png")

    Image.new("RGB", (8, 5)).save(tmp_path / "a.png")
    found = image.read(Place())
    assert (found.size, found.kind) == ((5, 8), "path")
