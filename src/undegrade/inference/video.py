"""Video: every frame through a Restorer, everything else as it was; needs the extra ``video`` (PyAV).

Frames keep their time stamps, so frame count, frame rate (a fraction) and duration stay exactly as they are, with a
variable rate too. Sound and subtitles are copied, rotation, tags and chapters kept. The work is kept in short pieces
beside the target; a run that was stopped goes on after the last complete piece.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undegrade._version import __version__
from undegrade.core.errors import InputError, MissingExtraError, UsageError
from undegrade.core.names import SLASHES, folded, same_file, shortened

if TYPE_CHECKING:
    from undegrade.inference.auto import Auto
    from undegrade.inference.chain import Chain
    from undegrade.inference.restorer import Restorer

__all__ = ["SUFFIXES", "WRITTEN", "Clip", "restore_video", "target_of", "targets_of"]

WRITTEN = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Containers that are written."""
SUFFIXES = WRITTEN | {".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv"}
"""File names that are taken for video."""
LOCK = "lock"
PIECE = 48
"""Frames of a piece, the most that an interruption costs."""
COPIED = ("audio", "subtitle")
HD = 720
"""Lines from which on colours that say nothing of themselves are those of HDTV (BT.709), below of SDTV (BT.601)."""


@dataclass(frozen=True)
class Clip:
    """What became of a video.

    Attributes:
        target: the file that was written.
        frames: pictures in it.
        resumed: frames of them that an earlier run had done.
        size: height and width of the result, before rotation.
        rate: frames per second, on average.
        seconds: its length.
        notes: what could not be taken over, one sentence each.
    """

    target: Path
    frames: int
    resumed: int
    size: tuple[int, int]
    rate: Fraction
    seconds: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "output": str(self.target),
            "frames": self.frames,
            "resumed": self.resumed,
            "size": list(self.size),
            "rate": str(self.rate),
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


def targets_of(sources: Sequence[str | Path], output: str | Path | None = None) -> list[Path]:
    """Where several restored videos go, each as ``target_of`` says.

    Raises:
        UsageError: a target would replace one of the sources, or two would share a file, or ``output`` is a file.
    """
    if len(sources) > 1 and output is not None and Path(output).suffix.lower() in SUFFIXES and not _is_folder(output):
        raise UsageError(f"{output}: one file name for several videos: give a folder")
    targets = [target_of(source, output) for source in sources]
    taken: dict[str, str | Path] = {}
    for source, target in zip(sources, targets, strict=True):
        for other in map(Path, sources):
            if same_file(target, other):
                raise UsageError(f"{source}: its output {target} would replace the input {other}: choose another -o")
        first = taken.setdefault(folded(str(target.absolute())), source)
        if first is not source:
            raise UsageError(f"{first}, {source}: both would become {target}: restore them apart")
    return targets


def target_of(source: str | Path, output: str | Path | None = None) -> Path:
    """Where a restored video goes: ``clip.restored.mp4`` beside it, a file that is named, or into a folder.

    Raises:
        UsageError: the target would replace the source.
    """
    source = Path(source)
    suffix = source.suffix if source.suffix.lower() in WRITTEN else ".mkv"
    if output is None:
        target = source.with_name(shortened(f"{source.stem}.restored{suffix}"))
    elif Path(output).suffix.lower() in SUFFIXES and not _is_folder(output):
        target = Path(output)
    else:
        target = Path(output) / shortened(f"{source.stem}{suffix}")
    if target.suffix.lower() not in WRITTEN:
        raise UsageError(f"{target}: written are {', '.join(sorted(WRITTEN))}; .mkv holds everything")
    if same_file(target, source):
        raise UsageError(f"{target}: the output would replace the input: choose another -o")
    return target


def _is_folder(output: str | Path) -> bool:
    return str(output).endswith(SLASHES) or Path(output).is_dir()


def restore_video(
    source: str | Path,
    target: str | Path,
    restorer: Restorer | Chain | Auto,
    *,
    quality: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Clip:
    """Restore every frame of ``source`` into ``target``.

    Stopped at any point, the same call goes on where it was. The target appears under its name when it is complete.

    Args:
        source: any video that FFmpeg reads.
        target: its suffix is the container; H.264 inside (HEVC for more than 8 bits, VP9 in .webm).
        restorer: what is done to every frame; each by itself, nothing is carried from frame to frame.
        quality: the encoder's constant rate factor; 0 is lossless for 8 bits, larger is smaller and worse.
        progress: called with (frames done, frames in all, as far as the file tells).

    Raises:
        MissingExtraError: PyAV is not installed.
        InputError: the file cannot be read, holds no moving picture, or a track does not fit into the target.
    """
    av = _av()
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise InputError(f"{source}: there is no such file")
    pieces = clip = None
    try:
        pieces = _Pieces(target, _identity(source, restorer, quality, target.suffix))
        done = pieces.frames
        with av.open(str(source)) as container:
            video = _moving(container, source)
            # Tell what the target cannot hold before hours are spent on it.
            with av.open(BytesIO(), "w", format=_container(target)) as trial:
                _copied(container, trial, video, target, [])
            total = video.frames or _estimate(container, video)
            frames = _numbered(islice(container.decode(video), done, None), video, done)
            count = done
            while batch := list(islice(frames, PIECE)):
                with pieces.writing() as part:
                    painter = _Painter(restorer, video, quality, part, target.suffix)
                    for pts, frame in batch:
                        painter.add(pts, frame)
                        count += 1
                        if progress:
                            progress(count, max(total, count))
                    painter.close()
                    pieces.stamps.append(painter.stamps)
        if progress:
            progress(count, count)
        if not count:
            raise InputError(f"{source}: no frame could be read")
        target.parent.mkdir(parents=True, exist_ok=True)
        clip = _join(source, target, pieces, done)
        return clip
    except av.error.FFmpegError as error:
        raise InputError(f"{source}: {_line(error)}") from error
    except OSError as error:
        raise InputError(f"{source}: {target}: cannot be written ({error.strerror or error})") from error
    finally:
        if pieces:
            pieces.leave(done=clip is not None)


class _Pieces:
    """The finished part of the work, in a folder beside the target: ``0000.mp4``, its time stamps in ``0000.json``.

    One process at a time holds the folder.

    Attributes:
        stamps: of the frames of every piece, in the source's time base.
    """

    def __init__(self, target: Path, identity: str) -> None:
        folder = target.with_name(shortened(f".{target.name}.parts"))
        self.folder, self.stamps = folder, list[list[int]]()
        folder.mkdir(parents=True, exist_ok=True)
        # SQLite locks files on every system, and the lock of a process that is killed is gone.
        self._lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._lock.close()
            raise InputError(f"{target}: another run is at work on it: wait for it, or give another -o") from error
        note = folder / "job"
        if not note.exists() or note.read_text(encoding="utf-8") != identity:
            for old in folder.iterdir():
                if old.name != LOCK:
                    old.unlink()
        note.write_text(identity, encoding="utf-8")
        while self.path(len(self.stamps), ".json").exists():
            self.stamps.append(json.loads(self.path(len(self.stamps), ".json").read_text(encoding="utf-8")))

    @property
    def frames(self) -> int:
        """Frames that are done."""
        return sum(map(len, self.stamps))

    def leave(self, *, done: bool) -> None:
        """Lets others at the folder; removes it if the work is done, or none is in it."""
        self._lock.close()
        if done or not self.stamps:
            shutil.rmtree(self.folder)

    def path(self, number: int, suffix: str) -> Path:
        """Of a piece's file."""
        return self.folder / f"{number:05d}{suffix}"

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """The file of the next piece; it counts when the block, which adds its stamps, ends well."""
        number = len(self.stamps)
        yield self.path(number, ".mp4")
        part = self.path(number, ".part")
        part.write_text(json.dumps(self.stamps[number]), encoding="utf-8")
        part.replace(self.path(number, ".json"))


class _Painter:
    """Restores frames and encodes them into one piece. Frames are stored in the order of showing, without B-frames."""

    def __init__(self, restorer: Restorer | Chain | Auto, video: Any, quality: int, path: Path, suffix: str) -> None:
        self.restorer, self.video, self.quality, self.suffix = restorer, video, quality, suffix.lower()
        self.container = _av().open(str(path), "w", format="mp4")
        self.stream: Any = None
        self.stamps: list[int] = []

    def add(self, pts: int, frame: Any) -> None:
        """One frame, shown at ``pts`` in the source's time base."""
        deep = frame.format.components[0].bits > 8
        matrix = _matrix(frame)
        pixels = frame.reformat(format="rgb48le" if deep else "rgb24", src_colorspace=matrix).to_ndarray()
        restored = _av().VideoFrame.from_ndarray(self.restorer(pixels), format="rgb48le" if deep else "rgb24")
        if self.stream is None:
            self.stream = self._open(frame, restored.width, restored.height, deep)
        full = frame.color_range == 2  # JPEG range, 0-255 instead of 16-235
        restored = restored.reformat(
            format=self.stream.codec_context.pix_fmt, dst_colorspace=matrix, dst_color_range=2 if full else 1
        )
        restored.pts, restored.time_base = pts - (self.stamps[0] if self.stamps else pts), self.video.time_base
        self.stamps.append(pts)
        self.container.mux(self.stream.encode(restored))

    def close(self) -> None:
        """Ends the piece."""
        self.container.mux(self.stream.encode(None))
        self.container.close()

    def _open(self, frame: Any, width: int, height: int, deep: bool) -> Any:
        codec = "libvpx-vp9" if self.suffix == ".webm" else "libx265" if deep else "libx264"
        options = {"crf": str(self.quality), "preset": "medium"}
        if codec == "libx265":
            options["x265-params"] = "bframes=0:log-level=error"
        elif codec == "libvpx-vp9":
            options = {"crf": str(2 * self.quality), "b": "0", "auto-alt-ref": "0", "lag-in-frames": "0"}
        stream: Any = self.container.add_stream(codec, rate=self.video.average_rate or 25, options=options)
        even = width % 2 == 0 and height % 2 == 0
        layout = "yuv420p" if even and "444" not in frame.format.name else "yuv444p"
        stream.width, stream.height, stream.pix_fmt = width, height, f"{layout}10le" if deep else layout
        stream.time_base = stream.codec_context.time_base = self.video.time_base
        context = stream.codec_context
        context.max_b_frames = 0
        if self.video.sample_aspect_ratio:
            context.sample_aspect_ratio = self.video.sample_aspect_ratio
        for name in ("color_primaries", "color_trc", "color_range"):
            setattr(context, name, getattr(frame, name))
        context.colorspace = frame.colorspace
        if frame.rotation:
            stream.set_display_rotation(frame.rotation)
        return stream


def _join(source: Path, target: Path, pieces: _Pieces, resumed: int) -> Clip:
    """The pieces as one track, with the other tracks of the source, in the source's order."""
    av = _av()
    part = target.with_name(shortened(f".{target.name}.part"))
    notes: list[str] = []
    with av.open(str(source)) as old, av.open(str(part), "w", format=_container(target)) as new:
        video = _moving(old, source)
        with av.open(str(pieces.path(0, ".mp4"))) as first:
            track = new.add_stream_from_template(first.streams.video[0], rate=video.average_rate or 25)
            size = (first.streams.video[0].height, first.streams.video[0].width)
        track.time_base, track.disposition = video.time_base, video.disposition
        track.metadata.update(video.metadata)
        others = _copied(old, new, video, target, notes)
        new.metadata.update(old.metadata)
        if old.chapters():
            new.set_chapters(old.chapters())
        if _has_alpha(video):
            notes.append("transparency is left out: the video becomes opaque")
        lengths: dict[int, int] = {}
        ready = _packets(pieces, video, lengths)
        for packet in old.demux(video, *others):
            if packet.stream is not video:
                if packet.dts is not None:
                    packet.stream = others[packet.stream]
                    new.mux(packet)
                continue
            if packet.pts is not None:
                lengths[packet.pts] = packet.duration
            for restored in islice(ready, 1):  # in step with the source, so that tracks stay interleaved
                _mux(new, track, restored)
        for restored in ready:
            _mux(new, track, restored)
        rate = video.average_rate or Fraction(0)
        notes.extend(_ends_early(old, video, [stamp for stamps in pieces.stamps for stamp in stamps], lengths))
    part.replace(target)
    with av.open(str(target)) as made:
        seconds = (made.duration or 0) / av.time_base
    return Clip(target, pieces.frames, resumed, size, rate, seconds, tuple(notes))


def _copied(old: Any, new: Any, video: Any, target: Path, notes: list[str]) -> dict[Any, Any]:
    """Tracks that are taken over: old -> new."""
    others = {}
    for stream in old.streams:
        if stream.type in COPIED:
            try:
                others[stream] = new.add_stream_from_template(stream)
            except (ValueError, _av().error.FFmpegError) as error:
                raise InputError(
                    f"{target}: cannot hold the source's {stream.type} track ({stream.name}): write to .mkv"
                ) from error
            others[stream].metadata.update(stream.metadata)
            others[stream].disposition = stream.disposition
        elif stream is not video:
            notes.append(f"track {stream.index} ({stream.type}) is left out")
    return others


def _has_alpha(video: Any) -> bool:
    """By the pixel format, or for VP8 and VP9, whose alpha is a second picture, by Matroska's AlphaMode."""
    return any(part.is_alpha for part in video.format.components) or video.metadata.get("alpha_mode") == "1"


def _ends_early(container: Any, video: Any, times: list[int], lengths: dict[int, int]) -> Iterator[str]:
    """A note, if the file tells a length that its frames do not reach."""
    tag = video.metadata.get("DURATION", "")  # Matroska's, where the length of a single track stands
    told = [video.duration * video.time_base] if video.duration is not None else []
    if re.fullmatch(r"\d+:\d+:\d+(\.\d+)?", tag):
        told.append(sum(Fraction(part) * unit for part, unit in zip(tag.split(":"), (3600, 60, 1), strict=True)))
    if not told:
        return
    # The file's own length is less where the players are told to show a part of the track only.
    told += [Fraction(container.duration, _av().time_base)] if container.duration else []
    end = (times[-1] + lengths.get(times[-1], 0) - (video.start_time or 0)) * video.time_base
    step = max((later - time for time, later in pairwise(times)), default=0) * video.time_base
    if min(told) - end > max(step, Fraction(1, 2)):
        yield f"the frames end after {float(end):.2f} of {float(min(told)):.2f} s: the file is cut off or damaged"


def _packets(pieces: _Pieces, video: Any, lengths: dict[int, int]) -> Iterator[Any]:
    """Packets of all pieces, stamped with the source's times; each lasts until the next.

    The ``lengths`` that a file tells follow the order of storing, which is not that of showing: only their sum, the
    length of the track, says when the last frame ends. Files without such a track length tell it with that frame.
    """
    times = [stamp for stamps in pieces.stamps for stamp in stamps]
    following = iter(times[1:])
    for number, stamps in enumerate(pieces.stamps):
        with _av().open(str(pieces.path(number, ".mp4"))) as piece:
            packets = (packet for packet in piece.demux(video=0) if packet.size)
            for packet, pts in zip(packets, stamps, strict=True):
                packet.time_base, packet.pts, packet.dts = video.time_base, pts, pts
                packet.duration = next(following, 0) - pts
                if pts == times[-1]:
                    end = pts + lengths.get(pts, 0) if video.duration is None else times[0] + sum(lengths.values())
                    packet.duration = max(end - pts, 1)
                yield packet


def _mux(new: Any, track: Any, packet: Any) -> None:
    packet.stream = track
    new.mux(packet)


def _numbered(frames: Iterator[Any], video: Any, first: int) -> Iterator[tuple[int, Any]]:
    """Frames with their time stamps; a raw stream that has none is counted by its rate."""
    step = 1 / ((video.average_rate or Fraction(25)) * video.time_base)
    for number, frame in enumerate(frames, start=first):
        yield (frame.pts if frame.pts is not None else round(number * step)), frame


def _moving(container: Any, source: Path) -> Any:
    """The first track of moving pictures; a cover is none."""
    cover = _av().stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{source}: holds no moving picture")


def _estimate(container: Any, video: Any) -> int:
    return round(float((container.duration or 0) / _av().time_base * (video.average_rate or 25)))


def _matrix(frame: Any) -> int:
    """How colours were turned to luma and chroma: as the frame says, else by its height."""
    known = {int(one) for one in _av().video.reformatter.Colorspace}
    return int(frame.colorspace) if int(frame.colorspace) in known else 1 if frame.height >= HD else 5


def _container(target: Path) -> str:
    return {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}.get(target.suffix.lower(), "mp4")


def _identity(source: Path, restorer: Restorer | Chain | Auto, quality: int, suffix: str) -> str:
    """What must be equal for a run to go on."""
    state = source.stat()
    parts = getattr(restorer, "restorers", (restorer,))
    said = {
        "version": __version__,
        "source": [str(source.resolve()), state.st_size, state.st_mtime_ns],
        "quality": [quality, suffix.lower()],
        "restorer": [restorer.info, [repr(getattr(one, "options", None)) for one in parts]],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("video", "video") from error
    return av
