"""The customary data sets: what lies where, how inputs find their targets, how many there should be.

Paths are patterns below the folder that the set was unpacked to. Counts are the usual ones of the full sets. Facts that
the systems' own loaders state are in their layouts; the rest is general knowledge and marked ``checked=False``.
"""

from __future__ import annotations

from undegrade.core.errors import UnknownNameError
from undegrade.data._layout import Layout, Part

__all__ = ["LAYOUTS", "find", "get", "names"]


def _pairs(count: int, train: int = 0) -> dict[str, Part]:
    """The two-folder form that our own `data prepare` writes, and many packs come in."""
    parts = {"test": Part("target/*", "input/*", count=count)}
    if train:
        parts["train"] = Part("train/target/*", "train/input/*", count=train)
    return parts


def _clean(count: int) -> dict[str, Part]:
    """A flat folder, and the form of the super-resolution benchmarks."""
    return {
        "test": Part("*", count=count),
        "benchmark": Part("HR/*", "LR_bicubic/X{scale}/*", rule="without-scale", count=count),
    }


def _derain(name: str, title: str, count: int, note: str = "", aliases: tuple[str, ...] = ()) -> Layout:
    return Layout(
        name,
        title,
        ("deraining",),
        {
            **_pairs(count),
            "norain": Part("norain/*", "rain/*", rule="without-side", count=count),
            "rain1400": Part("ground_truth/*", "rainy_image/*", rule="before-last-underscore", count=count),
        },
        aliases,
        origin="one of the five test sets beside Rain13K",
        note=note,
    )


_RESIDE = Part("test/gt/*", "test/hazy/*", rule="before-underscore")
_SNOW = {
    "test": Part("test2000/Gt/*", "test2000/Snow/*", count=2000),
    "train": Part("train2500/Gt/*", "train2500/Snow/*", count=2500),
}
_BLUR = {
    "test": Part("valid/sharp/*", "valid/blur/*"),
    "train": Part("train/sharp/*", "train/blur/*"),
}

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(
            "its",
            "RESIDE ITS (indoor training set)",
            ("dehazing",),
            {
                "train": Part("train/gt/*", "train/hazy/*", rule="before-underscore", count=13990),
                "test": Part("test/gt/*", "test/hazy/*", rule="before-underscore", count=500),
                "reside": Part("clear/*", "hazy/*", rule="before-underscore", count=13990),
            },
            ("reside-its", "reside-in"),
            origin="RESIDE (Li et al. 2019), Indoor Training Set; test is SOTS-indoor",
            note="Ten hazy versions of each of 1399 rooms; the third field of a name is the airlight.",
        ),
        Layout(
            "ots",
            "RESIDE OTS (outdoor training set)",
            ("dehazing",),
            {
                "train": Part("train/gt/*", "train/hazy/*", rule="before-underscore", count=72135),
                "test": Part("test/gt/*", "test/hazy/*", rule="before-underscore", count=500),
                "reside": Part("clear/*", "hazy/**/*", rule="before-underscore", count=72135),
            },
            ("reside-ots", "reside-out"),
            origin="RESIDE (Li et al. 2019), Outdoor Training Set; test is SOTS-outdoor",
            note="35 versions of each picture, named image_airlight_beta: 72,135 of the 2061 pictures in the paper, "
            "313,950 of the 8970 in the download, which the recipes count. Training labels .jpg, test labels .png.",
        ),
        Layout(
            "sots-indoor",
            "RESIDE SOTS indoor",
            ("dehazing",),
            {
                **_pairs(500),
                "reside": Part("gt/*", "hazy/*", rule="before-underscore", count=500, border=10),
                "its": _RESIDE,
            },
            ("sots", "sotsindoor", "sots-in"),
            origin="RESIDE (Li et al. 2019), Synthetic Objective Testing Set",
            note="Raw labels are 640x480 and the hazy pictures 620x460: cut 10 pixels on every side of the labels.",
        ),
        Layout(
            "sots-outdoor",
            "RESIDE SOTS outdoor",
            ("dehazing",),
            {**_pairs(500), "reside": Part("gt/*", "hazy/*", rule="before-underscore", count=500)},
            ("sotsoutdoor", "sots-out"),
            origin="RESIDE (Li et al. 2019), Synthetic Objective Testing Set",
        ),
        Layout(
            "o-haze",
            "O-HAZE",
            ("dehazing",),
            {"test": Part("GT/*", "hazy/*", rule="before-underscore", count=45)},
            ("ohaze",),
            origin="NTIRE 2018 dehazing challenge",
            note="The last five are the customary test pictures.",
            checked=False,
        ),
        Layout(
            "dense-haze",
            "Dense-Haze",
            ("dehazing",),
            {"test": Part("GT/*", "hazy/*", rule="before-underscore", count=55)},
            ("densehaze",),
            origin="NTIRE 2019 dehazing challenge",
            note="The last five are the customary test pictures.",
            checked=False,
        ),
        Layout(
            "nh-haze",
            "NH-HAZE",
            ("dehazing",),
            {"test": Part("GT/*", "hazy/*", rule="before-underscore", count=55)},
            ("nhhaze",),
            origin="NTIRE 2020 dehazing challenge",
            checked=False,
        ),
        Layout(
            "gopro",
            "GoPro",
            ("motion_deblurring",),
            {
                "test": Part("test/target/*", "test/input/*", count=1111),
                "train": Part("train/target/*", "train/input/*", count=2103),
                "test-scenes": Part("test/*/sharp/*", "test/*/blur/*", "without-side", 1111),
                "train-scenes": Part("train/*/sharp/*", "train/*/blur/*", "without-side", 2103),
                "test-valid": Part("valid/sharp/*", "valid/blur/*", count=1111),
                "train-valid": Part("train/sharp/*", "train/blur/*", count=2103),
                "flat": Part("target/*", "input/*", count=1111),
            },
            origin="Nah et al. 2017, DeepDeblur",
            note="Published tables use the plain average (blur), not blur_gamma. Full frames of 1280x720.",
        ),
        Layout(
            "hide",
            "HIDE",
            ("motion_deblurring",),
            {**_pairs(2025), "official": Part("GT/*", "test/**/*", "file-name", 2025), **_BLUR},
            origin="Shen et al. 2019, Human-Aware Motion Deblurring",
            note="Used as a test set only. The official folder splits the blurred ones into long and close shots.",
        ),
        Layout(
            "realblur-j",
            "RealBlur-J",
            ("motion_deblurring",),
            {
                **_pairs(980),
                "scenes": Part("*/gt/*", "*/blur/*", "without-side"),
            },
            ("realblurj", "realblur"),
            origin="Rim et al. 2020, RealBlur",
            note="Official scripts align output and target before scoring.",
            checked=False,
        ),
        Layout(
            "realblur-r",
            "RealBlur-R",
            ("motion_deblurring",),
            {
                **_pairs(980),
                "scenes": Part("*/gt/*", "*/blur/*", "without-side"),
            },
            ("realblurr",),
            origin="Rim et al. 2020, RealBlur (raw camera output)",
            checked=False,
        ),
        Layout(
            "rsblur",
            "RSBlur",
            ("motion_deblurring",),
            {**_BLUR, "flat": Part("target/*", "input/*", count=3360)},
            origin="Rim et al. 2022, Realistic Blur Synthesis",
            note="Scored by the set's own script on saved pictures.",
        ),
        Layout(
            "rain13k",
            "Rain13K",
            ("deraining",),
            {"train": Part("train/target/*", "train/input/*", count=13712), "flat": Part("target/*", "input/*")},
            origin="the joint training set of MSPFN and MPRNet: 11,200 + 1,800 + 700 + 12 pairs",
        ),
        _derain("rain100l", "Rain100L", 100),
        _derain("rain100h", "Rain100H", 100, "Numbering differs between releases; pair within one release only."),
        _derain("test100", "Test100", 100, "The test part of Rain800.", ("rain800-test",)),
        _derain("test1200", "Test1200", 1200, "Three rain densities."),
        _derain("test2800", "Test2800", 2800, "From Rain1400: fourteen rains of each clean picture.", ("rain1400",)),
        Layout(
            "spa",
            "SPA-Data",
            ("deraining",),
            {**_pairs(1000), "official": Part("gt/*", "rain/*", rule="without-side", count=1000)},
            ("spa-data",),
            origin="Wang et al. 2019, spatial attentive deraining",
            checked=False,
        ),
        Layout(
            "csd",
            "CSD",
            ("desnowing",),
            {**_SNOW, "flat": Part("target/*", "input/*"), "official": Part("Test/Gt/*", "Test/Snow/*", count=2000)},
            origin="Chen et al. 2021, HDCWNet",
        ),
        Layout(
            "srrs",
            "SRRS",
            ("desnowing",),
            {**_SNOW, "flat": Part("target/*", "input/*")},
            origin="Chen et al. 2020, JSTASR",
            note="Labels are .jpg whatever the snowy file is.",
        ),
        Layout(
            "snow100k",
            "Snow100K",
            ("desnowing",),
            {
                **_SNOW,
                "flat": Part("target/*", "input/*"),
                "official": Part("gt/*", "synthetic/*", count=50000),
            },
            ("snow100k-l", "snow100k-m", "snow100k-s"),
            origin="Liu et al. 2018, DesnowNet",
            note="Papers draw 2,000 of the 50,000 test pictures, not the same ones.",
        ),
        Layout(
            "dpdd",
            "DPDD (single image)",
            ("defocus_deblurring",),
            {
                "test": Part("test_c/target/*", "test_c/source/*", rule="order", count=76),
                "validation": Part("val_c/target/*", "val_c/source/*", rule="order", count=74),
                "train": Part("train_c/target/*", "train_c/source/*", rule="order", count=350),
                "flat": Part("target/*", "input/*", count=76),
            },
            origin="Abuolaim and Brown 2020, dual-pixel defocus deblurring",
            note="The two files of a pair have different numbers: they are paired by order. Input f/4, target f/22.",
            checked=False,
        ),
        Layout(
            "dpdd-demo",
            "DPDD demo",
            ("defocus_deblurring",),
            {"test": Part("target/*", "input/*")},
            origin="published animations of the DPDD authors: half size, 256 colours",
            note="For ranking models, not for the published numbers.",
        ),
        Layout(
            "lytrodefocus",
            "LytroDefocus",
            ("defocus_deblurring",),
            _pairs(20),
            ("lytro",),
            origin="Lytro multi-focus pictures with targets fused from both focus settings",
            note="The target is a pseudo ground truth.",
        ),
        Layout(
            "levin09",
            "Levin 2009",
            ("motion_deblurring",),
            _pairs(32),
            ("levin",),
            origin="Levin et al. 2009, four pictures by eight measured kernels",
            note="Grey; targets are offset by up to 4 pixels: score with the protocol levin.",
        ),
        Layout(
            "div2k",
            "DIV2K",
            ("super_resolution", "denoising", "demosaicing", "jpeg_artifacts"),
            {
                "train": Part("DIV2K_train_HR/*", count=800),
                "validation": Part("DIV2K_valid_HR/*", count=100),
                "train-lr": Part("DIV2K_train_HR/*", "DIV2K_train_LR_bicubic/X{scale}/*", "without-scale", 800),
                "validation-lr": Part("DIV2K_valid_HR/*", "DIV2K_valid_LR_bicubic/X{scale}/*", "without-scale", 100),
            },
            origin="Agustsson and Timofte 2017, NTIRE challenge",
            note="The pyramid-attention system expects 801-900 in the train folders too and validates by position.",
        ),
        Layout("set5", "Set5", ("super_resolution", "denoising"), _clean(5), origin="Bevilacqua et al. 2012"),
        Layout(
            "set14",
            "Set14",
            ("super_resolution",),
            _clean(14),
            origin="Zeyde et al. 2010",
            note="bridge is grey; man is grey stored as RGB: on luma they score differently.",
        ),
        Layout(
            "bsd100", "BSD100", ("super_resolution",), _clean(100), ("b100",), origin="Berkeley segmentation data set"
        ),
        Layout(
            "cbsd68",
            "CBSD68",
            ("denoising", "demosaicing"),
            _clean(68),
            ("bsd68", "bsd68-colour"),
            origin="Berkeley segmentation data set, 68 colour pictures of the validation folder",
        ),
        Layout("set12", "Set12", ("denoising",), _clean(12), origin="twelve grey pictures of DnCNN"),
        Layout("urban100", "Urban100", ("super_resolution", "denoising", "demosaicing"), _clean(100)),
        Layout("manga109", "Manga109", ("super_resolution",), _clean(109)),
        Layout(
            "kodak24",
            "Kodak24",
            ("denoising", "demosaicing"),
            _clean(24),
            ("kodak",),
            origin="Kodak lossless true colour image suite",
        ),
        Layout(
            "mcmaster",
            "McMaster18",
            ("demosaicing", "denoising"),
            _clean(18),
            ("mcm", "mcmaster18"),
            origin="Zhang et al. 2011",
        ),
        Layout(
            "live1",
            "LIVE1",
            ("jpeg_artifacts",),
            _clean(29),
            origin="LIVE image quality database, 29 reference pictures",
            note="Colour files: the benchmark is taken on their 8-bit luma.",
        ),
        Layout("classic5", "Classic5", ("jpeg_artifacts",), _clean(5), origin="five grey pictures of 512x512"),
    )
}


def names() -> list[str]:
    """All data set names, sorted."""
    return sorted(LAYOUTS)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def find(name: str) -> Layout | None:
    """The layout whose name or alias is ``name``, whatever its case, hyphens and underscores; None if there is none."""
    for layout in LAYOUTS.values():
        if _plain(name) in {_plain(spelling) for spelling in (layout.name, layout.title, *layout.aliases)}:
            return layout
    return None


def get(name: str) -> Layout:
    """As `find`.

    Raises:
        UnknownNameError: there is none; the message offers the nearest name.
    """
    layout = find(name)
    if layout is None:
        raise UnknownNameError("data set", name, LAYOUTS)
    return layout
