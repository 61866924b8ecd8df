"""Named scoring protocols: the rulers of the papers, each saying exactly what it measures.

A figure in decibels means little without its ruler: channels, rounding, border, SSIM window. ``get("derain-y")``
gives one, ``score`` applies it to one picture, ``describe`` says it in words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Literal

from undegrade.core.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

    from undegrade.metrics.ssim import Window

__all__ = ["IDENTICAL", "PROTOCOLS", "Protocol", "Ruler", "get", "names"]

IDENTICAL = 100.0
"""What equal pictures score, in dB: means over a set stay finite."""

Colour = Literal["rgb", "y-studio", "y-studio-8bit", "y-studio-swapped", "grey-8bit"]
COLOURS: dict[Colour, str] = {
    "rgb": "RGB, one MSE over all channels",
    "y-studio": "Y = 16 + 65.481 R + 128.553 G + 24.966 B, unrounded",
    "y-studio-8bit": "Y = 16 + 65.481 R + 128.553 G + 24.966 B, rounded to 8 bits",
    "y-studio-swapped": "Y = 16 + 24.966 R + 128.553 G + 65.481 B (red and blue exchanged), unrounded",
    "grey-8bit": "grey = 0.299 R + 0.587 G + 0.114 B, rounded to 8 bits",
}


@dataclass(frozen=True)
class Ruler:
    """How SSIM is taken, in words that a table can print and names that the code knows.

    Attributes:
        window: ``gaussian`` (11 x 11, sigma 1.5), ``uniform`` (7 x 7, sample covariance) or ``uniform-8`` (8 x 8,
            biased), all over windows that lie inside, or ``gaussian-replicate`` (edge pixels repeated, full map).
        data_range: the peak value L, where 1 is level 255.
        before: what happens to both pictures first: nothing, ``pooled`` (the dehazing systems' reduction to about
            256 pixels) or ``stretched`` (8-bit grey, each picture's own range stretched to 0..1).
        multiple: the padding multiple that ``pooled`` reckons with.
    """

    window: Literal["gaussian", "gaussian-replicate", "uniform", "uniform-8"] = "gaussian"
    data_range: float = 1.0
    before: Literal["", "pooled", "stretched"] = ""
    multiple: int = 4

    def measure(self, output: Tensor, target: Tensor) -> float:
        """SSIM of two (C, H, W) pictures."""
        from undegrade.metrics import ssim

        if self.before == "pooled":
            output, target = (ssim.pool_for_dehazing(picture, self.multiple) for picture in (output, target))
        elif self.before == "stretched":
            output, target = ssim.stretch(output), ssim.stretch(target)
        return ssim.ssim(output, target, self._taps(), self.data_range)

    @property
    def side(self) -> int:
        """Pixels of the shortest side that holds a window."""
        taps = self._taps()
        return taps.size if taps.border == "valid" else 1

    def _taps(self) -> Window:
        from undegrade.metrics import ssim

        return {
            "gaussian": ssim.GAUSSIAN,
            "uniform": ssim.UNIFORM,
            "uniform-8": ssim.UNIFORM_8,
            "gaussian-replicate": replace(ssim.GAUSSIAN, border="replicate"),
        }[self.window]

    def __str__(self) -> str:
        words = {
            "gaussian": "Gaussian 11x11 sigma 1.5, windows inside only",
            "uniform": "uniform 7x7, sample covariance, windows inside only",
            "uniform-8": "uniform 8x8, windows inside only",
            "gaussian-replicate": "Gaussian 11x11 sigma 1.5, edge pixels repeated",
        }[self.window]
        if self.before == "pooled":
            words += f", after adaptive pooling by round(min(H, W) / 256), sizes stepped up to {self.multiple}"
        elif self.before == "stretched":
            words += f", on 8-bit grey stretched picture by picture, data range {self.data_range:g}"
        return words


@dataclass(frozen=True)
class Protocol:
    """A named way of scoring a picture against its target.

    Attributes:
        name: as it is asked for.
        title: one line for people.
        colour: what PSNR is taken on; one-channel pictures are taken as they are.
        bits: 8 if the output is rounded to 8 bits before scoring, None if it stays float. It is always clipped.
        border: pixels left out on every side; ``"scale"`` for as many as the enlargement factor (none at factor 1).
        shift: PSNR and SSIM are taken at the best integer shift of up to this many pixels either way.
        ssim: how SSIM is taken.
        ssim_on: what SSIM is taken on, if not on the same pictures as PSNR.
        extras: further measures: ``psnr_b`` (blocking, on one channel), ``mae`` (mean absolute error, 0..1).
        resize: kernel that made the inputs, where the task has one.
        aligned: the output is scaled and warped onto the target first (see `undegrade.metrics.aligned`).
        luma_inputs: the benchmark's clean pictures are 8-bit luma, so colour files are turned to Y before degrading.
        source: where the protocol comes from.
    """

    name: str
    title: str
    colour: Colour = "rgb"
    bits: Literal[8] | None = None
    border: int | Literal["scale"] = 0
    shift: int = 0
    ssim: Ruler = Ruler()
    ssim_on: Literal["", "grey-8bit"] = ""
    extras: tuple[Literal["psnr_b", "mae"], ...] = ()
    resize: str = ""
    aligned: bool = False
    luma_inputs: bool = False
    source: str = ""

    def score(self, output: Tensor, target: Tensor, scale: int = 1, clip: bool = True) -> dict[str, float]:
        """Scores of one picture: ``psnr`` (dB) and ``ssim`` first, then the extras.

        Args:
            output, target: (C, H, W) float in 0..1, of equal size.
            scale: enlargement factor, for protocols that cut as many border pixels.
            clip: clip the output to 0..1 (and round it, if the protocol does). Off for the score of an untouched
                input: noise that leaves the range counts in full.

        Raises:
            ValueError: the sizes differ, or the picture is too small for the border or the window.
        """
        from undegrade.metrics.psnr import crop_border, psnr, psnr_b, same_shape

        same_shape(output, target)
        output, target = output.detach().double().cpu(), target.detach().double().cpu()
        output = output.clamp(0, 1) if clip else output
        rounded = (output * 255).round() / 255 if clip else output
        if self.aligned:
            from undegrade.metrics.aligned import score_aligned

            scores = score_aligned(rounded, target)
            return scores | {"psnr": min(scores["psnr"], IDENTICAL)}
        kept = rounded if self.bits == 8 else output
        cut = self._cut(scale)
        whole, truth = _channel(kept, self.colour), crop_border(_channel(target, self.colour), cut)
        measured = _best_shift(whole, truth, cut, self.shift) if self.shift else crop_border(whole, cut)
        scores = {"psnr": min(psnr(measured, truth), IDENTICAL)}
        if self.ssim_on:
            scores["ssim"] = self.ssim.measure(_channel(rounded, self.ssim_on), _channel(target, self.ssim_on))
        else:
            scores["ssim"] = self.ssim.measure(measured, truth)
        for extra in self.extras:
            if extra == "psnr_b":
                scores[extra] = min(psnr_b(measured, truth), IDENTICAL)
            else:
                scores[extra] = float((measured - truth).abs().mean())
        return scores

    def least(self, scale: int = 1) -> int:
        """Pixels of the shortest side that can be scored."""
        return self.ssim.side + (0 if self.ssim_on else 2 * self._cut(scale))

    def _cut(self, scale: int) -> int:
        return self.border if self.border != "scale" else (scale if scale > 1 else 0)

    @property
    def measures(self) -> tuple[str, ...]:
        """The keys that `score` gives."""
        return ("psnr", "ssim", *self.extras)

    def describe(self) -> dict[str, str]:
        """What the figures are, in words: every choice that moves them."""
        border = "scale" if self.border == "scale" else f"{self.border} px"
        return {
            "name": self.name,
            "title": self.title,
            "colour": COLOURS[self.colour],
            "border": f"{border} cut on every side" if self.border else "none cut",
            "rounding": "output clipped and rounded to 8 bits" if self.bits else "output clipped, not rounded",
            "ssim_window": str(self.ssim) if not self.aligned else "Gaussian sigma 1.5, 5 px border dropped, masked",
            "peak": "1 (level 255)",
            "resize": self.resize or "none",
            "alignment": self._alignment(),
            "source": self.source,
        }

    def _alignment(self) -> str:
        if self.aligned:
            return "brightness fitted, then warped onto the target by an ECC homography"
        return f"best integer shift within {self.shift} px" if self.shift else "none"


def _channel(picture: Tensor, colour: Colour) -> Tensor:
    from undegrade.metrics.luma import LUMAS

    return picture if colour == "rgb" or picture.shape[0] == 1 else LUMAS[colour](picture)


def _best_shift(whole: Tensor, target: Tensor, border: int, reach: int) -> Tensor:
    """The part of the uncut output that meets the target, whose border is cut, best."""
    height, width = target.shape[-2:]
    if border < reach:
        raise ValueError(f"a shift of {reach} px needs a border of at least as many, not {border}")
    candidates = [
        whole[..., border + dy : border + dy + height, border + dx : border + dx + width]
        for dy, dx in product(range(-reach, reach + 1), repeat=2)
    ]
    errors = [float((candidate - target).square().mean()) for candidate in candidates]
    return candidates[errors.index(min(errors))]


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "rgb",
            "RGB, float; the SSIM that scikit-image gives by default",
            ssim=Ruler("uniform"),
            source="common practice for noise and blur; ChaIR and CCNet motion deblurring (PSNR)",
        ),
        Protocol(
            "rgb-8bit",
            "RGB of the saved 8-bit picture, Gaussian SSIM",
            bits=8,
            source="PANet colour denoising (8-bit clipped noise files)",
        ),
        Protocol(
            "y-matlab",
            "luma for super-resolution, border of the scale cut",
            colour="y-studio",
            bits=8,
            border="scale",
            resize="bicubic as MATLAB imresize, a = -0.5, antialiased",
            source="PA-EDSR and all super-resolution tables since SRCNN",
        ),
        Protocol(
            "derain-y",
            "luma for deraining",
            colour="y-studio-8bit",
            bits=8,
            source="MATLAB scripts of the deraining tables (Test100, Rain100H/L, Test2800, Test1200); ChaIR",
        ),
        Protocol(
            "dehaze",
            "RGB, float; SSIM on pooled pictures",
            ssim=Ruler("gaussian", before="pooled", multiple=4),
            source="ChaIR and CCNet test code for dehazing and desnowing",
        ),
        Protocol(
            "m3snet-deblur",
            "RGB, float; SSIM of grey pictures stretched one by one (not comparable with others)",
            ssim=Ruler("uniform", data_range=2.0, before="stretched"),
            ssim_on="grey-8bit",
            source="M3SNet test scripts for GoPro and HIDE; the grey formula is assumed",
        ),
        Protocol(
            "m3snet-derain",
            "RGB, output fitted in brightness and warped onto the target (needs OpenCV)",
            bits=8,
            aligned=True,
            source="M3SNet and MHNet deraining scripts",
        ),
        Protocol(
            "mhnet-y",
            "luma unrounded, SSIM over the full map",
            colour="y-studio",
            bits=8,
            ssim=Ruler("gaussian-replicate"),
            source="MHNet evaluation script with the channel order put right",
        ),
        Protocol(
            "mhnet-y-swapped",
            "luma with red and blue exchanged, SSIM over the full map",
            colour="y-studio-swapped",
            bits=8,
            ssim=Ruler("gaussian-replicate"),
            source="MHNet evaluation script exactly: pictures read in BGR order and not swapped",
        ),
        Protocol(
            "jpeg-luma",
            "luma coded as a grey JPEG, with PSNR-B",
            colour="y-studio-8bit",
            bits=8,
            extras=("psnr_b",),
            luma_inputs=True,
            source="PANet CAR, DnCNN, ARCNN on LIVE1 and Classic5; PSNR-B of Yim and Bovik 2011",
        ),
        Protocol(
            "jpeg-luma-8x8",
            "luma coded as a grey JPEG, SSIM by a flat 8x8 window",
            colour="y-studio-8bit",
            bits=8,
            ssim=Ruler("uniform-8"),
            extras=("psnr_b",),
            luma_inputs=True,
            source="the JPEG and ARCNN rows of the same tables: their SSIM is this one (Classic5: .7800 at quality 10)",
        ),
        Protocol(
            "demosaic-cpsnr",
            "colour PSNR of the saved picture, no border cut",
            bits=8,
            source="PANet and RNAN demosaicing (McMaster18, Kodak24, CBSD68, Urban100; phase GRBG)",
        ),
        Protocol(
            "defocus",
            "RGB of the saved 8-bit picture, scikit-image SSIM, mean absolute error",
            bits=8,
            ssim=Ruler("uniform"),
            extras=("mae",),
            source="DPDD tables; the perceptual distance LPIPS of these tables is not offered",
        ),
        Protocol(
            "levin",
            "grey, best integer shift within 5 px, 30 px of border left out",
            colour="grey-8bit",
            border=30,
            shift=5,
            ssim=Ruler("uniform"),
            source="Levin et al. 2009 camera shake, whose targets are offset by up to 4 px",
        ),
    )
}


def names() -> list[str]:
    """All protocol names, sorted."""
    return sorted(PROTOCOLS)


ALIASES = {"cpsnr": "demosaic-cpsnr"}


def get(name: str) -> Protocol:
    """The protocol called ``name``, or with that alias.

    Raises:
        UnknownNameError: there is none; the message offers the nearest name.
    """
    name = ALIASES.get(name, name)
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
