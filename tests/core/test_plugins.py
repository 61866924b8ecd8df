"""Another package adds a network and a task by entry points: they are listed, built, used like our own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from undegrade.core.errors import UsageError
from undegrade.networks._spec import NetworkSpec
from undegrade.tasks import Parameter
from undegrade.weights.card import WeightsCard

NETWORK = '''"""Identity: gives back what it gets."""
from dataclasses import dataclass
from torch import nn
from undegrade.networks._spec import NetworkSpec

@dataclass(frozen=True)
class Config:
    colors: int = 3

SPEC = NetworkSpec(
    name="identity", title="Identity", paper="none", config=Config, module=lambda config: nn.Identity(),
    presets={"identity": Config()}, default="identity", infer=lambda shapes: None, official=lambda config: {},
    channels=lambda config: config.colors,
)
'''
TASK = '''"""Unhurting: does nothing."""
from undegrade.tasks import Parameter, Task

def degrade(clean, generator, depth=1):
    return clean - float(depth) / 255

TASK = Task(
    name="unhurting", title="Unhurting", summary="Does nothing.", protocol="rgb", aliases=("unhurt", "denoise", "sr"),
    parameters=(Parameter("depth", "of the hurt in levels", low=1, high=9), Parameter("scale", "of the hurt")),
    degrade=degrade,
)
'''
ENTRIES = """[undegrade.networks]
identity = plugin_of_tests.identity
broken = plugin_of_tests.broken
misnamed = plugin_of_tests.identity
unwritten = plugin_of_tests.unwritten
gone = no_such_package.gone

[undegrade.tasks]
unhurting = plugin_of_tests.unhurting
broken = plugin_of_tests.broken
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    package = tmp_path / "plugin_of_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "identity.py").write_text(NETWORK)
    (package / "unhurting.py").write_text(TASK)
    (package / "unwritten.py").write_text("def (")
    (package / "broken.py").write_text('"""Broken: cannot be imported."""\nimport no_such_module\n')
    info = tmp_path / "plugin_of_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-tests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


def run(plugin: Path, code: str) -> str:
    """In a process of its own: entry points are read once."""
    start = f"import sys; sys.path.insert(0, {str(plugin)!r})\nimport undegrade\n"
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_parameters_on_the_command_line(plugin: Path) -> None:
    (plugin / "clean").mkdir()
    Image.new("RGB", (32, 32), (90, 120, 150)).save(plugin / "clean" / "plain.png")
    words = ["evaluate", "-t", "unhurt", "-w", "none", "--json", "-", "--set", "depth=3", "--clean"]
    out = run(
        plugin,
        f"import sys\nfrom undegrade.cli import main\nsys.argv[1:] = {[*words, str(plugin / 'clean')]!r}\nmain()\n",
    )
    assert json.loads(out)["mean"]["input_psnr"] == pytest.approx(20 * math.log10(255 / 3), abs=0.01)


def test_listed_without_torch(plugin: Path) -> None:
    out = run(
        plugin,
        "from undegrade import networks\n"
        "print(undegrade.list_networks('[ib]*'), undegrade.list_tasks('un*'), networks.catalog.summary('identity'))\n"
        "print('torch' in sys.modules)\n",
    )
    assert out == "['broken', 'identity'] ['unhurting'] Identity: gives back what it gets.\nFalse\n"


def test_broken_ones_hide_no_others(plugin: Path) -> None:
    names = ("broken", "gone", "identity", "unwritten")
    out = run(plugin, f"from undegrade import networks\nfor name in {names}: print(networks.catalog.summary(name))\n")
    assert out.splitlines() == [
        "Broken: cannot be imported.",
        "plugin, cannot be read (ModuleNotFoundError)",
        "Identity: gives back what it gets.",
        "plugin, cannot be read (SyntaxError)",
    ]


def test_broken_ones_are_in_the_way_of_nothing(plugin: Path) -> None:
    code = (
        "print(tasks.get('unhurt').name, undegrade.load('sr', scale=3).info['task'])\n"
        "print([row['name'] for row in api.catalogue('tasks', 'un*')])\n"
        "try:\n    undegrade.load('denoize')\n"
        "except undegrade.UsageError as error:\n    print(error)\n"
    )
    found, listed, unknown = run(plugin, f"from undegrade import api, tasks\n{code}").splitlines()
    assert (found, listed) == ("unhurting super_resolution", "['unhurting']")
    assert "unknown task or weights 'denoize': did you mean 'denoise'" in unknown


def test_it_takes_no_alias_and_no_parameter_from_our_own(plugin: Path) -> None:
    code = (
        "print(tasks.get('denoise').name, tasks.get('sr').name, undegrade.load(scale=3).info['task'])\n"
        "names = [row['name'] for row in api.catalogue('tasks')]\n"
        "print('unhurting' in names, names == sorted(names))\n"
    )
    out = run(plugin, f"from undegrade import api, tasks\n{code}")
    assert out == "denoising super_resolution super_resolution\nTrue True\n"


def test_used_like_our_own(plugin: Path) -> None:
    out = run(
        plugin,
        "import torch\n"
        "from undegrade import networks, tasks\n"
        "from undegrade.inference.restorer import Restorer\n"
        "spec = networks.catalog.get('identity')\n"
        "net = undegrade.create_network('identity', colors=1)\n"
        "restorer = Restorer.from_module(net, spec, spec.configure(), tasks.get('unhurt'))\n"
        "x = torch.rand(3, 5, 7)\n"
        "print(torch.equal(restorer(x), x), restorer.info['task'])\n"
        "try:\n"
        "    undegrade.create_network('broken')\n"
        "except undegrade.UsageError as error:\n"
        "    print(error)\n"
        "try:\n"
        "    undegrade.create_network('misnamed')\n"
        "except undegrade.UsageError as error:\n"
        "    print(error)\n",
    )
    equal, message, misnamed = out.splitlines()
    assert equal == "True unhurting"
    assert message == (
        "network 'broken': the plugin plugin_of_tests.broken cannot be loaded "
        "(ModuleNotFoundError: No module named 'no_such_module'); mend or uninstall it"
    )
    assert misnamed == (
        "network 'misnamed': plugin_of_tests.identity.SPEC calls itself 'identity'; give the entry point that name"
    )


@pytest.mark.parametrize(("ends", "value", "rule"), [({"low": 1}, 0, "1-inf"), ({"high": 9}, "nan", "-inf-9")])
def test_a_range_without_an_end(ends: dict[str, float], value: float | str, rule: str) -> None:
    parameter = Parameter("depth", "of the hurt in levels", **ends)
    assert parameter.check("5") == 5
    with pytest.raises(UsageError, match=f"depth={value}: must lie in {rule}"):
        parameter.check(value)


@pytest.mark.parametrize("value", [True, False, np.True_])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(UsageError, match=r"depth=.*: a number is needed"):
        Parameter("depth", "of the hurt in levels").check(value)


@dataclass(frozen=True)
class Numbers:
    """Of every kind that a network's config may hold."""

    width: int = 8
    slope: float = 0.1
    act: str = "relu"
    rates: tuple[float, ...] = (0.5, 1.0)
    gated: bool = True
    depth: int | None = None


SLOPING: NetworkSpec[Numbers] = NetworkSpec(
    name="sloping", title="Sloping", paper="none", config=Numbers, module=lambda config: nn.Identity(),
    presets={"sloping": Numbers()}, default="sloping", infer=lambda shapes: None, official=lambda config: {},
)  # fmt: skip


@pytest.mark.parametrize("numbers", [{}, {"slope": 1, "act": "gelu", "rates": [1, 0.25], "gated": False, "depth": 3}])
def test_numbers_of_every_kind_come_back_from_a_card(numbers: dict[str, Any]) -> None:
    config = SLOPING.configure(**numbers)
    assert isinstance(config.slope, float)
    card = WeightsCard(id="x", title="x", network="sloping", file="x", numbers=asdict(config))
    assert SLOPING.configure(None, **WeightsCard.from_toml(card.to_toml()).numbers) == config


@pytest.mark.parametrize(
    ("number", "rule"),
    [
        ({"slope": "steep"}, "slope='steep': a number is needed"),
        ({"act": 3}, "act=3: a word is needed"),
        ({"rates": 0.5}, "rates=0.5: a list of numbers is needed"),
        ({"width": 0.5}, "width=0.5: a whole number is needed"),
    ],
)
def test_numbers_of_the_wrong_kind(number: dict[str, Any], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        SLOPING.configure(**number)
