"""Video: every frame through a Restorer, everything else as it was; needs the extra ``video`` (PyAV).

Frames keep their time stamps, so frame count, frame rate (a fraction) and duration stay exactly as they are, with a
variable rate too. Sound and subtitles are copied, rotation, tags and chapters kept. The work is kept in short pieces
beside the target; a run that was stopped goes on after the last complete piece.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undegrade._version import __version__
from undegrade.core.decode import MAX_PIXELS, check_pixels
from undegrade.core.errors import InputError, UsageError
from undegrade.core.names import folded, means_folder, same_file, shortened
from undegrade.inference.joining import Clip, container_of, copied, join, library, moving
from undegrade.inference.pieces import Pieces

if TYPE_CHECKING:
    from undegrade.inference.auto import Auto
    from undegrade.inference.chain import Chain
    from undegrade.inference.restorer import Restorer

__all__ = ["SUFFIXES", "WRITTEN", "Clip", "restore_video", "target_of", "targets_of"]

WRITTEN = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Containers that are written."""
SUFFIXES = WRITTEN | {
    *(".avi", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".ts", ".m2ts", ".mts", ".wmv", ".asf", ".flv", ".3gp", ".3g2"),
    *(".ogv", ".dv", ".mxf", ".qt", ".divx"),
}
"""File names that are taken for video."""
PIECE = 48
"""Frames of a piece, the most that an interruption costs."""
HD = 720
"""Lines from which on colours that say nothing of themselves are those of HDTV (BT.709), below of SDTV (BT.601)."""


def targets_of(sources: Sequence[str | Path], output: str | Path | None = None) -> list[Path]:
    """Where several restored videos go, each as ``target_of`` says.

    Raises:
        UsageError: a target would replace one of the sources, or two would share a file, or ``output`` is a file.
    """
    if len(sources) > 1 and output is not None and Path(output).suffix.lower() in SUFFIXES and not means_folder(output):
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
    elif Path(output).suffix.lower() in SUFFIXES and not means_folder(output):
        target = Path(output)
    else:
        target = Path(output) / shortened(f"{source.stem}{suffix}")
    if target.suffix.lower() not in WRITTEN:
        raise UsageError(f"{target}: written are {', '.join(sorted(WRITTEN))}; .mkv holds nearly everything")
    _refuse_source(source, target)
    return target


def _refuse_source(source: Path, target: Path) -> None:
    if same_file(target, source):
        raise UsageError(f"{target}: the output would replace the input: choose another one (-o)")


def restore_video(
    source: str | Path,
    target: str | Path,
    restorer: Restorer | Chain | Auto,
    *,
    quality: int = 16,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> Clip:
    """Restore every frame of ``source`` into ``target``.

    Stopped at any point, the same call goes on where it was. The target appears under its name when it is complete.

    Args:
        source: any video that FFmpeg reads.
        target: its suffix is the container; H.264 inside (HEVC for more than 8 bits, VP9 in .webm).
        restorer: what is done to every frame; each by itself, nothing is carried from frame to frame.
        quality: the encoder's constant rate factor; 0 is lossless for 8 bits, larger is smaller and worse.
        max_pixels: videos whose frames are larger are refused.
        progress: called with (frames done, frames in all, as far as the file tells).

    Raises:
        MissingExtraError: PyAV is not installed.
        UsageError: the target is the source.
        InputError: the file cannot be read, holds no moving picture or one too large, or a track does not fit into
            the target.
    """
    av = library()
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise InputError(f"{source}: {'not a regular file' if source.exists() else 'there is no such file'}")
    _refuse_source(source, target)
    pieces = clip = None
    try:
        pieces = Pieces(target, _identity(source, restorer, quality, target.suffix))
        done = pieces.frames
        with av.open(str(source)) as container:
            video = moving(container, source)
            try:
                check_pixels(video.width * video.height, max_pixels)
            except InputError as error:
                raise InputError(f"{source}: frames of {error}") from error
            # Tell what the target cannot hold before hours are spent on it.
            with av.open(BytesIO(), "w", format=container_of(target)) as trial:
                copied(container, trial, video, target, [])
            total = video.frames or _estimate(container, video)
            lost: list[Exception] = []
            notes: dict[str, None] = {}
            frames = islice(_numbered(_decoded(container, video, lost), video, notes), done, None)
            count = done
            while batch := list(islice(frames, PIECE)):
                with pieces.writing() as part:
                    painter = _Painter(restorer, video, quality, part, target, notes)
                    with painter.container:  # Windows removes no file that is open
                        for count, (pts, frame) in enumerate(batch, pieces.frames + 1):
                            painter.add(pts, frame)
                            if progress:
                                progress(count, max(total, count))
                        painter.end()
                    pieces.stamps.append(painter.stamps)
        if progress:
            progress(count, count)
        if not count:
            raise InputError(f"{source}: no frame could be read")
        target.parent.mkdir(parents=True, exist_ok=True)
        clip = join(source, target, pieces, done)
        if lost:
            notes[f"damaged packets, {len(lost)} in all, have no pictures: those before them stand longer"] = None
        clip = replace(clip, notes=(*clip.notes, *notes))
        return clip
    except av.error.FFmpegError as error:
        raise InputError(f"{source}: {_line(error)}") from error
    except OSError as error:
        raise InputError(f"{source}: {target}: cannot be written ({error.strerror or error})") from error
    finally:
        if pieces:
            pieces.leave(done=clip is not None)


class _Painter:
    """Restores frames and encodes them into one piece. Frames are stored in the order of showing, without B-frames.

    What is not as in the source is put on ``notes``, each once.
    """

    def __init__(
        self,
        restorer: Restorer | Chain | Auto,
        video: Any,
        quality: int,
        path: Path,
        target: Path,
        notes: dict[str, None],
    ) -> None:
        self.restorer, self.video, self.quality, self.target = restorer, video, quality, target
        self.notes = notes
        self.container = library().open(str(path), "w", format="mp4")
        self.stream: Any = None
        self.stamps: list[int] = []

    def add(self, pts: int, frame: Any) -> None:
        """One frame, shown at ``pts`` in the source's time base.

        Raises:
            InputError: the target's encoder lacks the frame's depth.
        """
        deep = frame.format.components[0].bits > 8
        matrix = _matrix(frame)
        pixels = frame.reformat(format="rgb48le" if deep else "rgb24", src_colorspace=matrix).to_ndarray()
        restored = library().VideoFrame.from_ndarray(self.restorer(pixels), format="rgb48le" if deep else "rgb24")
        if self.stream is None:
            self.stream = self._open(frame, restored.width, restored.height, deep)
        if (restored.width, restored.height) != (self.stream.width, self.stream.height):
            self.notes["some frames have another size than the first and are scaled to it"] = None
        if frame.interlaced_frame:
            self.notes["interlaced: restored and written as whole pictures; deinterlace it before"] = None
        full = frame.color_range == 2  # JPEG range, 0-255 instead of 16-235
        restored = restored.reformat(
            self.stream.width,
            self.stream.height,
            format=self.stream.codec_context.pix_fmt,
            dst_colorspace=matrix,
            dst_color_range=2 if full else 1,
        )
        restored.pts, restored.time_base = pts - (self.stamps[0] if self.stamps else pts), self.video.time_base
        self.stamps.append(pts)
        self.container.mux(self.stream.encode(restored))

    def end(self) -> None:
        """What the encoder still holds."""
        self.container.mux(self.stream.encode(None))

    def _open(self, frame: Any, width: int, height: int, deep: bool) -> Any:
        codec = "libvpx-vp9" if self.target.suffix.lower() == ".webm" else "libx265" if deep else "libx264"
        options = {"crf": str(self.quality), "preset": "medium"}
        if codec == "libx265":
            options["x265-params"] = "bframes=0:log-level=error"
        elif codec == "libvpx-vp9":
            options = {"crf": str(2 * self.quality), "b": "0", "auto-alt-ref": "0", "lag-in-frames": "0"}
        stream: Any = self.container.add_stream(codec, rate=self.video.average_rate or 25, options=options)
        layout = _layout(frame, width, height)
        known = {one.name for one in library().Codec(codec, "w").video_formats or ()}
        if deep and f"{layout}10le" not in known:
            raise InputError(f"{self.target}: this build's encoder holds 8 bits, not more: write to .mkv or .mp4")
        if (bits := frame.format.components[0].bits) > 10:
            self.notes[f"{bits} bits become 10"] = None
        stream.width, stream.height, stream.pix_fmt = width, height, f"{layout}10le" if deep else layout
        stream.time_base = stream.codec_context.time_base = self.video.time_base
        context = stream.codec_context
        context.max_b_frames = 0
        if self.video.sample_aspect_ratio:
            context.sample_aspect_ratio = self.video.sample_aspect_ratio
        for name in ("color_primaries", "color_trc", "color_range"):
            setattr(context, name, getattr(frame, name))
        # RGB is written as luma and chroma, for which "RGB" would be no matrix.
        context.colorspace = _matrix(frame) if frame.format.is_rgb else frame.colorspace
        if frame.rotation:
            stream.set_display_rotation(frame.rotation)
        return stream


def _decoded(container: Any, video: Any, lost: list[Exception]) -> Iterator[Any]:
    """Frames; what FFmpeg says of packets that cannot be decoded is put on ``lost``."""
    for packet in container.demux(video):
        try:
            frames = packet.decode()
        except library().error.InvalidDataError as error:
            lost.append(error)
        else:
            yield from frames


def _layout(frame: Any, width: int, height: int) -> str:
    """The pixel format of 8 bits whose chroma has at least the source's resolution."""
    across, down = (64 // max(1, chroma(64)) for chroma in (frame.format.chroma_width, frame.format.chroma_height))
    grey = len(frame.format.components) < 3
    if width % 2 or height % 2 or frame.format.is_rgb or (across == 1 and not grey):
        return "yuv444p"
    return "yuv422p" if down == 1 and not grey else "yuv420p"


def _numbered(frames: Iterator[Any], video: Any, notes: dict[str, None]) -> Iterator[tuple[int, Any]]:
    """Frames with their time stamps; a raw stream that has none is counted by its rate.

    Where a recording was begun anew and its stamps go back, the frames follow those before them.
    """
    step = 1 / ((video.average_rate or Fraction(25)) * video.time_base)
    last, shift = None, 0
    for number, frame in enumerate(frames):
        pts = (frame.pts if frame.pts is not None else round(number * step)) + shift
        if last is not None and pts <= last:
            notes["time stamps go back: what comes after follows what was before"] = None
            shift += last + max(1, round(step)) - pts
            pts = last + max(1, round(step))
        last = pts
        yield pts, frame


def _estimate(container: Any, video: Any) -> int:
    return round(float((container.duration or 0) / library().time_base * (video.average_rate or 25)))


def _matrix(frame: Any) -> int:
    """How colours were turned to luma and chroma: as the frame says, else by its height."""
    known = {int(one) for one in library().video.reformatter.Colorspace}
    return int(frame.colorspace) if int(frame.colorspace) in known else 1 if frame.height >= HD else 5


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
