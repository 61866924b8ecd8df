"""What this machine has: versions, cores, memory, devices, backends, and the line that installs what is missing."""

from __future__ import annotations

import json
import platform
from importlib import metadata, util
from typing import Annotated, Any

import typer

from undegrade.cli._console import plain

REQUIRED = ("torch", "numpy", "pillow", "safetensors", "typer", "rich", "pydantic", "pyyaml")
OPTIONAL = {
    "heif": ("pillow_heif", "reading and writing HEIC"),
    "cv": ("cv2", "the aligned deraining protocol (m3snet-derain)"),
    "onnx": ("onnxruntime", "running and writing ONNX files"),
    "openvino": ("openvino", "running and writing OpenVINO files; bfloat16 on processors"),
    "web": ("gradio", "the web page and the HTTP API (undegrade serve)"),
    "tensorboard": ("tensorboard", "training curves"),
    "video": ("av", "restoring videos"),
    "report": ("matplotlib", "pictures of runs and scores (undegrade report)"),
    "ray": ("ray", "folders over many machines"),
    "hub": ("huggingface_hub", "weights from and to a hub"),
    "spandrel": ("spandrel", "checkpoints of other networks"),
}
"""Extra -> (module, what it is for)."""


def command(as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False) -> None:
    """Show versions, devices, memory, and what is missing."""
    report = _report()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


def _report() -> dict[str, Any]:
    from undegrade import api
    from undegrade._version import __version__
    from undegrade.core.device import host_memory, threads

    return {
        "schema": 1,
        "undegrade": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in REQUIRED},
        "threads": threads(),
        "free_memory_mb": host_memory() >> 20,
        "devices": _devices(),
        "backends": {
            name: _version({"compile": "torch", "onnx": "onnxruntime"}.get(name, name)) for name in api.list_backends()
        },
        "formats": _formats(),
        "weights": _weights(),
        "extras": {
            extra: {
                "for": purpose,
                "installed": util.find_spec(module) is not None,
                "install": f"pip install 'undegrade[{extra}]'",
            }
            for extra, (module, purpose) in _extras().items()
        },
    }


def _extras() -> dict[str, tuple[str, str]]:
    """Those that this version offers."""
    offered = metadata.metadata("undegrade").get_all("Provides-Extra") or []
    return {extra: row for extra, row in OPTIONAL.items() if extra in offered}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[dict[str, Any]]:
    import torch

    from undegrade.core.device import free_memory

    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    names += ["mps"] if torch.backends.mps.is_available() else []
    devices = []
    for name in [*names, "cpu"]:
        device = torch.device(name)
        title = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or name
        devices.append({"name": name, "title": title, "free_memory_mb": free_memory(device) >> 20})
    return devices


def _formats() -> list[str]:
    from undegrade.core.decode import READABLE, pillow_formats

    return [name for name in READABLE if name in pillow_formats()]


def _weights() -> list[str]:
    from undegrade import api

    return api.list_weights()


def _print(report: dict[str, Any]) -> None:
    out = plain()
    out.print(f"undegrade {report['undegrade']}, Python {report['python']}, {report['system']}")
    out.print(
        "packages  " + ", ".join(f"{name} {version or 'missing'}" for name, version in report["packages"].items())
    )
    out.print(f"machine   {report['threads']} threads, {report['free_memory_mb']} MB of memory free")
    for device in report["devices"]:
        out.print(f"device    {device['name']}: {device['title']}, {device['free_memory_mb']} MB free")
    out.print("backends  " + ", ".join(report["backends"]))
    out.print("formats   " + ", ".join(report["formats"]))
    out.print("weights   " + (", ".join(report["weights"]) or "none"))
    for extra in report["extras"].values():
        state = "installed" if extra["installed"] else f"missing: {extra['install']}"
        out.print(f"extra     {extra['for']}: {state}")
