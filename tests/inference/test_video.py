"""Video: frames, times, sound, subtitles and rotation stay; a run that was stopped goes on."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from undegrade.core.errors import InputError, UsageError  # noqa: E402
from undegrade.inference.pieces import Pieces  # noqa: E402
from undegrade.inference.video import PIECE, restore_video, target_of, targets_of  # noqa: E402

RATE = Fraction(30000, 1001)
FRAMES = 60


class Darker:
    """Stands for a Restorer: quick, and visible in the result; counts its frames and may stop like Ctrl-C does."""

    def __init__(self, stop_after: int | None = None, scale: int = 1) -> None:
        self.info = {"weights": "darker", "scale": scale}
        self.stop_after, self.scale, self.calls = stop_after, scale, 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        return (frame // 2).repeat(self.scale, 0).repeat(self.scale, 1)


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A bright field with a moving darker bar."""
    frame = np.full((height, width, 3), (200, 160, 120), np.uint8)
    frame[:, number % width : number % width + 8] = (100, 140, 180)
    return frame


def clip(path: Path, *, rotation: int = 0, subtitles: bool = False, steps: tuple[int, ...] = (1,)) -> Path:
    """About two seconds with sound; ``steps`` are the lengths of frames in turns, in ticks of a frame."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "10", "preset": "ultrafast", "bf": "2"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = 1 / RATE
        if rotation:
            video.set_display_rotation(rotation)
        sound = out.add_stream("aac", rate=16000, layout="mono")
        if subtitles:
            path.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:01,200\na line of text\n", encoding="utf-8")
            text = av.open(str(path.with_suffix(".srt")))
            lines = out.add_stream_from_template(text.streams.subtitles[0])
        time = 0
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = time, 1 / RATE
            time += steps[number % len(steps)]
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for start in range(0, 32000, 1024):
            wave = np.sin(np.arange(start, start + 1024) / 10).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.rate, frame.pts = 16000, start
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
        if subtitles:
            for packet in text.demux():
                if packet.dts is not None:
                    packet.stream = lines
                    out.mux(packet)
            text.close()
            path.with_suffix(".srt").unlink()
    return path


def told(path: Path) -> dict[str, Any]:
    """What must stay: times and tracks."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        facts: dict[str, Any] = {
            "rate": video.average_rate,
            "length": file.duration,
            "tracks": [stream.type for stream in file.streams],
        }
        frames = list(file.decode(video))
    facts["times"] = [frame.pts * frame.time_base for frame in frames]
    facts["rotation"] = frames[0].rotation
    facts["size"] = (frames[0].width, frames[0].height)
    for kind in ("audio", "subtitle"):
        with av.open(str(path)) as file:
            tracks = [stream for stream in file.streams if stream.type == kind]
            packets = file.demux(*tracks) if tracks else []
            facts[kind] = [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.size]
    return facts


@pytest.mark.parametrize(
    ("suffix", "options", "rounding"),
    [
        (".mp4", {"rotation": 90}, 0),
        (".mkv", {"subtitles": True}, 0),
        (".mov", {"steps": (1, 3, 2)}, 1000),  # the header of such a source rounds its length to milliseconds
    ],
    ids=["rotated mp4", "mkv with subtitles", "mov of variable rate"],
)
def test_everything_but_the_pictures_stays(tmp_path: Path, suffix: str, options: dict[str, Any], rounding: int) -> None:
    source = clip(tmp_path / f"clip{suffix}", **options)
    calls: list[tuple[int, int]] = []
    made = restore_video(source, tmp_path / f"out{suffix}", Darker(), progress=lambda *share: calls.append(share))  # type: ignore[arg-type]
    before, after = told(source), told(made.target)
    assert after.pop("length") == pytest.approx(before.pop("length"), abs=rounding)
    assert after == before
    assert made.frames == FRAMES == len(after["times"])
    assert made.resumed == 0
    assert calls[-1] == (FRAMES, FRAMES)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"clip{suffix}", f"out{suffix}"]


def described(path: Path) -> tuple[dict[str, str], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """What the file says of itself: its title, its chapters, and of each track kind, language and disposition."""
    with av.open(str(path)) as file:
        title = {name: value for name, value in file.metadata.items() if name == "title"}
        chapters = [(one["start"] * one["time_base"], one["metadata"]["title"]) for one in file.chapters()]
        tracks = [(one.type, one.metadata.get("language"), one.disposition) for one in file.streams]
    return title, chapters, tracks


def test_title_chapters_languages_and_dispositions_stay(tmp_path: Path) -> None:
    disposition = av.stream.Disposition
    told = {"video": ("deu", disposition.forced), "audio": ("fra", disposition.hearing_impaired)}
    with av.open(str(clip(tmp_path / "plain.mp4"))) as old, av.open(str(tmp_path / "clip.mkv"), "w") as out:
        tracks = {stream: out.add_stream_from_template(stream) for stream in old.streams}
        for track in tracks.values():
            track.metadata["language"], track.disposition = told[track.type]
        out.metadata["title"] = "a film"
        out.set_chapters([{"id": 1, "start": 1, "end": 2, "time_base": Fraction(1), "metadata": {"title": "the end"}}])
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream]
                out.mux(packet)
    made = restore_video(tmp_path / "clip.mkv", tmp_path / "out.mkv", Darker())  # type: ignore[arg-type]
    for path in (tmp_path / "clip.mkv", made.target):
        with av.open(str(path)) as file:
            assert file.metadata["title"] == "a film"
            assert [(part["start"] * part["time_base"], part["metadata"]["title"]) for part in file.chapters()] == [
                (1, "the end")
            ]
            assert {one.type: (one.metadata["language"], one.disposition) for one in file.streams} == told


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(str(clip(tmp_path / "clip.mp4"))) as old, av.open(str(tmp_path / "song.mp4"), "w") as out:
        sound = out.add_stream_from_template(old.streams.audio[0])
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(picture(0), format="rgb24")
        for packet in (*cover.encode(frame), *cover.encode(None)):
            out.mux(packet)
        for packet in old.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                out.mux(packet)
    with pytest.raises(InputError, match=r"song\.mp4: holds no moving picture"):
        restore_video(tmp_path / "song.mp4", tmp_path / "out.mp4", Darker())  # type: ignore[arg-type]


def test_pictures_are_the_restored_ones(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    made = restore_video(source, tmp_path / "out.mp4", Darker(scale=2))  # type: ignore[arg-type]
    assert made.size == (96, 128)
    with av.open(str(made.target)) as file:
        for number, frame in enumerate(file.decode(video=0)):
            shown = frame.to_ndarray(format="rgb24").astype(int)
            wanted = (picture(number) // 2).repeat(2, 0).repeat(2, 1)
            assert np.abs(shown - wanted).mean() < 4


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    whole = restore_video(source, tmp_path / "whole.mp4", Darker())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        restore_video(source, tmp_path / "out.mp4", Darker(stop_after=PIECE + 3))  # type: ignore[arg-type]
    assert not (tmp_path / "out.mp4").exists()
    second = Darker()
    made = restore_video(source, tmp_path / "out.mp4", second)  # type: ignore[arg-type]
    assert (made.resumed, second.calls) == (PIECE, FRAMES - PIECE)
    assert made.target.read_bytes() == whole.target.read_bytes()


def test_a_stopped_run_leaves_no_file_open(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    with pytest.raises(KeyboardInterrupt) as stop:
        restore_video(source, tmp_path / "out.mp4", Darker(stop_after=PIECE - 1))  # type: ignore[arg-type]
    assert stop.traceback, "keeps everything alive"
    assert not [file for file in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(file)]


@pytest.mark.parametrize("damaged", ["00000.json", "00000.mp4"])
def test_a_piece_that_a_power_cut_damaged_is_done_again(tmp_path: Path, damaged: str) -> None:
    source = clip(tmp_path / "clip.mp4")
    with pytest.raises(KeyboardInterrupt):
        restore_video(source, tmp_path / "out.mp4", Darker(stop_after=PIECE + 3))  # type: ignore[arg-type]
    (tmp_path / ".out.mp4.parts" / damaged).write_bytes(b"")
    made = restore_video(source, tmp_path / "out.mp4", Darker())  # type: ignore[arg-type]
    assert (made.resumed, made.frames) == (0, FRAMES)


def test_the_disk_has_a_piece_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, kept = Pieces(tmp_path / "out.mp4", "work"), list[bytes]()

    def sync(file: int) -> None:
        assert not pieces.path(0, ".json").exists()
        kept.append(os.pread(file, 100, 0))

    monkeypatch.setattr(os, "fsync", sync)
    with pieces.writing() as part:
        part.write_bytes(b"frames")
        pieces.stamps.append([0, 1])
    assert kept == [b"frames", b"[0, 1]"]
    assert pieces.path(0, ".json").exists()
    pieces.leave(done=True)


def test_a_note_that_a_power_cut_damaged_starts_anew(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    with pytest.raises(KeyboardInterrupt):
        restore_video(source, tmp_path / "out.mp4", Darker(stop_after=PIECE + 3))  # type: ignore[arg-type]
    (tmp_path / ".out.mp4.parts/job").write_bytes(b"\xff\xfe")
    assert restore_video(source, tmp_path / "out.mp4", Darker()).resumed == 0  # type: ignore[arg-type]


def test_what_cannot_be_begun_holds_no_lock(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    strange = tmp_path / ".out.mp4.parts/folder"
    strange.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(InputError, match="cannot be written") as raised:
            restore_video(source, tmp_path / "out.mp4", Darker())  # type: ignore[arg-type]
        assert raised.traceback, "keeps everything alive"
    strange.rmdir()
    assert restore_video(source, tmp_path / "out.mp4", Darker()).frames == FRAMES  # type: ignore[arg-type]


def test_other_settings_start_anew(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    with pytest.raises(KeyboardInterrupt):
        restore_video(source, tmp_path / "out.mp4", Darker(stop_after=PIECE + 3))  # type: ignore[arg-type]
    made = restore_video(source, tmp_path / "out.mp4", Darker(), quality=20)  # type: ignore[arg-type]
    assert made.resumed == 0


@pytest.mark.parametrize(
    ("name", "codec", "layout"), [("a.mov", "qtrle", "argb"), ("a.webm", "libvpx-vp9", "yuva420p")]
)
def test_lost_transparency_is_told(tmp_path: Path, name: str, codec: str, layout: str) -> None:
    with av.open(str(tmp_path / name), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, layout
        for number in range(3):
            frame = np.dstack([picture(number), np.full((48, 64), 99, np.uint8)])
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgba")))
        out.mux(video.encode(None))
    made = restore_video(tmp_path / name, tmp_path / "out.mkv", Darker())  # type: ignore[arg-type]
    assert made.notes == ("transparency is left out: the video becomes opaque",)


def test_a_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mkv")
    assert restore_video(source, tmp_path / "whole.mkv", Darker()).notes == ()  # type: ignore[arg-type]
    content = source.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 2])
    made = restore_video(tmp_path / "cut.mkv", tmp_path / "half.mkv", Darker())  # type: ignore[arg-type]
    assert made.frames < FRAMES
    (note,) = made.notes
    assert re.fullmatch(r"the frames end after 0\.\d\d of 2\.00 s: the file is cut off or damaged", note)


def test_a_damaged_picture_costs_itself_alone(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    with av.open(str(source)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][FRAMES // 2]
        start, size = packet.pos, packet.size
    content = bytearray(source.read_bytes())
    content[start : start + size] = bytes(size)
    (tmp_path / "hurt.mp4").write_bytes(content)
    made = restore_video(tmp_path / "hurt.mp4", tmp_path / "out.mp4", Darker())  # type: ignore[arg-type]
    assert made.frames == FRAMES - 1
    assert made.notes == ("damaged packets, 1 in all, have no pictures: those before them stand longer",)
    assert told(made.target)["length"] == told(source)["length"]


def test_time_stamps_that_go_back(tmp_path: Path) -> None:
    part = clip(tmp_path / "part.ts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(part + part)
    made = restore_video(tmp_path / "twice.ts", tmp_path / "twice.mkv", Darker())
    assert made.notes == ("time stamps go back: what comes after follows what was before",)
    with av.open(str(tmp_path / "twice.mkv")) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert len(stamps) == made.frames > 1.9 * FRAMES
    assert stamps == sorted(set(stamps))
    with pytest.raises(KeyboardInterrupt):
        restore_video(tmp_path / "twice.ts", tmp_path / "again.mkv", Darker(stop_after=2 * PIECE))
    restore_video(tmp_path / "twice.ts", tmp_path / "again.mkv", Darker())
    assert (tmp_path / "again.mkv").stat().st_size == (tmp_path / "twice.mkv").stat().st_size


@pytest.mark.parametrize(
    ("codec", "layout", "written", "matrix"),
    [
        ("libx264rgb", "rgb24", "yuvj444p", 5),
        ("libx264", "yuv422p", "yuv422p", 2),
        ("libx264", "yuv444p", "yuv444p", 2),
        ("libx264", "gray", "yuv420p", 2),
        ("ffv1", "yuv420p12le", "yuv420p10le", 2),
    ],
)
def test_chroma_keeps_its_resolution(tmp_path: Path, codec: str, layout: str, written: str, matrix: int) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, layout
        for number in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        out.mux(video.encode(None))
    made = restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", Darker())
    assert made.notes == (("12 bits become 10",) if "12" in layout else ())
    with av.open(str(tmp_path / "b.mkv")) as container:
        frame = next(container.decode(video=0))
    assert (frame.format.name, int(frame.colorspace)) == (written, matrix)


def test_more_than_eight_bits_play_where_apples_do(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p10le"
        out.mux(video.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        out.mux(video.encode(None))
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mp4", Darker())
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"
        assert len(list(container.decode(video=0))) == 1


def test_frames_that_change_their_size_and_woven_ones_are_told(tmp_path: Path) -> None:
    class Growing(Darker):
        def __call__(self, frame: np.ndarray) -> np.ndarray:
            return super().__call__(frame).repeat(2, 0) if self.calls else super().__call__(frame)

    made = restore_video(clip(tmp_path / "a.mp4"), tmp_path / "b.mp4", Growing())
    assert made.notes == ("some frames have another size than the first and are scaled to it",)
    with av.open(str(tmp_path / "woven.mkv"), "w") as out:
        video = out.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "top": "1"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        out.mux(video.encode(None))
    assert "interlaced" in restore_video(tmp_path / "woven.mkv", tmp_path / "c.mkv", Darker()).notes[0]


def test_one_run_at_a_time_on_one_target(tmp_path: Path) -> None:
    source, target = clip(tmp_path / "clip.mp4"), tmp_path / "out.mp4"

    class Second(Darker):
        def __call__(self, frame: np.ndarray) -> np.ndarray:
            if self.calls == 0:
                with pytest.raises(InputError, match="another run is at work"):
                    restore_video(source, target, Darker())  # type: ignore[arg-type]
            return super().__call__(frame)

    made = restore_video(source, target, Second())  # type: ignore[arg-type]
    assert (made.frames, made.resumed) == (FRAMES, 0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_names_as_long_as_the_disk_takes(tmp_path: Path) -> None:
    source = clip(tmp_path / f"{'n' * 251}.mp4")
    made = restore_video(source, target_of(source), Darker())  # type: ignore[arg-type]
    assert sorted(tmp_path.iterdir()) == sorted([source, made.target])
    assert len(target_of(tmp_path / f"{'n' * 251}.avi", tmp_path).name) <= 255


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"clip.mp4: .*file/out.mp4: cannot be written \(Not a directory\)"):
        restore_video(source, tmp_path / "file/out.mp4", Darker())  # type: ignore[arg-type]


def test_folders_are_no_file_names(tmp_path: Path) -> None:
    (tmp_path / "old.mp4").mkdir()
    assert target_of("a/clip.mp4", tmp_path / "old.mp4") == tmp_path / "old.mp4/clip.mp4"
    assert target_of("a/clip.mp4", "new.mp4/") == Path("new.mp4/clip.mp4")
    assert targets_of(["a.mp4", "b.mp4"], "clips.v2") == [Path("clips.v2/a.mp4"), Path("clips.v2/b.mp4")]
    with pytest.raises(UsageError, match="give a folder"):
        targets_of(["a.mp4", "b.mp4"], "c.mp4")


def test_refusals(tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.mkv", subtitles=True)
    with pytest.raises(InputError, match=r"write to .mkv"):
        restore_video(source, tmp_path / "out.webm", Darker())  # type: ignore[arg-type]
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"bad.mp4"):
        restore_video(tmp_path / "bad.mp4", tmp_path / "out.mp4", Darker())  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.mp4", "clip.mkv"]
    with pytest.raises(InputError, match="no such file"):
        restore_video(tmp_path / "none.mp4", tmp_path / "out.mp4", Darker())  # type: ignore[arg-type]
    before = source.read_bytes()
    (tmp_path / "link.mkv").symlink_to(source)
    for target in (source, tmp_path / "link.mkv"):
        with pytest.raises(UsageError, match="replace"):
            target_of(source, target)
        with pytest.raises(UsageError, match="replace"):
            restore_video(source, target, Darker())  # type: ignore[arg-type]
    assert source.read_bytes() == before
    with pytest.raises(UsageError, match=r"\.mkv holds nearly everything"):
        target_of(source, tmp_path / "out.avi")
    assert target_of("a/clip.AVI") == Path("a/clip.restored.mkv")
    assert target_of("a/clip.mp4", "b") == Path("b/clip.mp4")
