"""The public names, held against a stored list: adding is a decision, removing breaks users."""

from __future__ import annotations

import inspect
import pickle
from typing import get_overloads

import pytest

import undegrade
from undegrade import api
from undegrade.core import errors
from undegrade.core.errors import MissingExtraError, UnknownNameError, UsageError

NAMES = {
    "WeightsCard": "class",
    "Restorer": "class",
    "Recipe": "class",
    "Picture": "class",
    "EvalReport": "class",
    "Auto": "class",
    "Chain": "class",
    "InputError": "class",
    "MissingExtraError": "class",
    "UndegradeError": "class",
    "UnknownNameError": "class",
    "UsageError": "class",
    "WeightsError": "class",
    "__version__": "text",
    "convert": "(checkpoint, output, **fields)",
    "create_network": "(network, preset=None, **numbers)",
    "evaluate": "(task, **settings)",
    "export": "(what, output, format=None, **settings)",
    "from_pretrained": "(where, revision=None, **wish)",
    "degrade": "(image, task, seed=0, *, frame=None, **strength)",
    "list_networks": "(pattern='*')",
    "list_presets": "(network, pattern='*')",
    "list_tasks": "(pattern='*')",
    "list_weights": "(pattern='*', task=None, network=None)",
    "load": "(what=None, **wish)",
    "load_network": "(path, network=None, preset=None, local_train_size=None, **numbers)",
    "restore": "(image, task=None, *, frame=None, **wish)",
    "train": "(recipe, overrides=(), **settings)",
    "weights_card": "(name)",
}


def shape(value: object) -> str:
    if inspect.isclass(value):
        return "class"
    if isinstance(value, str):
        return "text"
    signature = inspect.signature(value)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def test_names_are_those_stored():
    assert sorted(undegrade.__all__) == sorted(NAMES)
    assert dir(undegrade) == sorted(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_shape_and_documentation(name):
    value = getattr(undegrade, name)
    assert shape(value) == NAMES[name]
    if name != "__version__":
        assert inspect.getdoc(value)


def test_unknown_name():
    with pytest.raises(AttributeError, match="restorex"):
        _ = undegrade.restorex


@pytest.mark.parametrize("path", [5, None, ""])
def test_load_network_takes_paths_and_names(path):
    with pytest.raises(UsageError, match="give a file of weights"):
        undegrade.load_network(path)


def test_names_that_are_no_text_are_unknown():
    for call in (undegrade.create_network, undegrade.list_presets, undegrade.weights_card):
        with pytest.raises(UnknownNameError, match=r"unknown .* '5': there are"):
            call(5)


def test_the_functions_of_the_api_are_all_listed():
    own = {name for name, value in vars(api).items() if inspect.isfunction(value) and value.__module__ == api.__name__}
    assert sorted(api.__all__) == sorted(name for name in own if not name.startswith("_"))
    assert set(api.__all__) >= {name for name in undegrade.__all__ if inspect.isfunction(getattr(undegrade, name))}


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("task", "derrain", ["derain", "denoise"]),
        MissingExtraError("video", "video"),
        *(
            getattr(errors, name)("x.png: no")
            for name in errors.__all__
            if name not in ("MissingExtraError", "UnknownNameError", "one_line")
        ),
    ],
)
def test_errors_come_out_of_other_processes_as_they_were(error):
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)


@pytest.mark.parametrize("function", [undegrade.restore, undegrade.degrade, undegrade.Restorer.__call__])
def test_checkers_of_types_know_which_kind_of_image_comes_back(function):
    forms = get_overloads(function)
    assert [form.__annotations__["return"] for form in forms] == ["Image", "Same"]
    assert {shape(form) for form in forms} == {shape(function)}
