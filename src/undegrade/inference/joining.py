"""The pieces of a video become one file, with all that the source held besides its pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from undegrade.core.errors import InputError, MissingExtraError
from undegrade.core.names import shortened
from undegrade.inference.pieces import Pieces

__all__ = ["Clip", "container_of", "copied", "join", "library", "moving"]

COPIED = ("audio", "subtitle")


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


def join(source: Path, target: Path, pieces: Pieces, resumed: int) -> Clip:
    """The pieces as one track, with the other tracks of the source, in the source's order."""
    av = library()
    part = target.with_name(shortened(f".{target.name}.part"))  # one name: over what a killed run left
    notes: list[str] = []
    try:
        with av.open(str(source)) as old, av.open(str(part), "w", format=container_of(target)) as new:
            video = moving(old, source)
            with av.open(str(pieces.path(0, ".mp4"))) as first:
                track = new.add_stream_from_template(first.streams.video[0], rate=video.average_rate or 25)
                size = (first.streams.video[0].height, first.streams.video[0].width)
            if track.codec_context.name in ("hevc", "libx265") and container_of(target) in ("mp4", "mov"):
                track.codec_context.codec_tag = "hvc1"  # the name of the two under which Apple's players take it
            track.time_base, track.disposition = video.time_base, video.disposition
            track.metadata.update(video.metadata)
            others = copied(old, new, video, target, notes)
            new.metadata.update(old.metadata)
            if old.chapters():
                new.set_chapters(old.chapters())
            if _has_alpha(video):
                notes.append("transparency is left out: the video becomes opaque")
            lengths: dict[int, int] = {}
            ready = _packets(pieces, video, lengths)
            shifts = {stream: _Rising() for stream in others}
            for packet in old.demux(video, *others):
                if packet.stream is not video:
                    if packet.dts is not None:
                        shifts[packet.stream].mend(packet)
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
    finally:
        part.unlink(missing_ok=True)
    with av.open(str(target)) as made:
        seconds = (made.duration or 0) / av.time_base
    return Clip(target, pieces.frames, resumed, size, rate, seconds, tuple(notes))


class _Rising:
    """Keeps the times of one track's packets rising where the source's go back."""

    def __init__(self) -> None:
        self._next, self._shift = -math.inf, 0

    def mend(self, packet: Any) -> None:
        """Moves the packet behind the one before, and all after it as far, if it is said to come earlier."""
        if packet.dts + self._shift < self._next:
            self._shift = int(self._next) - packet.dts
        packet.dts += self._shift
        if packet.pts is not None:
            packet.pts += self._shift
        self._next = packet.dts + 1


def copied(old: Any, new: Any, video: Any, target: Path, notes: list[str]) -> dict[Any, Any]:
    """Tracks that are taken over: old -> new.

    Raises:
        InputError: the target cannot hold one.
    """
    others = {}
    for stream in old.streams:
        if stream.type in COPIED:
            try:
                others[stream] = new.add_stream_from_template(stream)
            except (ValueError, library().error.FFmpegError) as error:
                other = ".mp4" if target.suffix.lower() == ".mkv" else ".mkv"
                raise InputError(
                    f"{target}: cannot hold the source's {stream.type} track ({stream.name}): write to {other}"
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
    told += [Fraction(container.duration, library().time_base)] if container.duration else []
    end = (times[-1] + lengths.get(times[-1], 0) - (video.start_time or 0)) * video.time_base
    step = max((later - time for time, later in pairwise(times)), default=0) * video.time_base
    if min(told) - end > max(step, Fraction(1, 2)):
        yield f"the frames end after {float(end):.2f} of {float(min(told)):.2f} s: the file is cut off or damaged"


def _packets(pieces: Pieces, video: Any, lengths: dict[int, int]) -> Iterator[Any]:
    """Packets of all pieces, stamped with the source's times; each lasts until the next.

    The ``lengths`` that a file tells follow the order of storing, which is not that of showing: only their sum, the
    length of the track, says when the last frame ends. Files without such a track length tell it with that frame.
    """
    times = [stamp for stamps in pieces.stamps for stamp in stamps]
    following = iter(times[1:])
    for number, stamps in enumerate(pieces.stamps):
        with library().open(str(pieces.path(number, ".mp4"))) as piece:
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


def moving(container: Any, source: Path) -> Any:
    """The first track of moving pictures; a cover is none.

    Raises:
        InputError: there is none.
    """
    cover = library().stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{source}: holds no moving picture")


def container_of(target: Path) -> str:
    """FFmpeg's name of the container that a file name asks for."""
    return {".mkv": "matroska", ".webm": "webm", ".mov": "mov"}.get(target.suffix.lower(), "mp4")


def library() -> Any:
    """PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("video", "video") from error
    return av
