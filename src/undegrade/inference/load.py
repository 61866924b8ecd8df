"""From a wish (a task, weights, a file) to a Restorer, or to a chain of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

from undegrade import tasks
from undegrade.core.errors import UnknownNameError, UsageError
from undegrade.core.names import exists
from undegrade.inference.auto import Auto
from undegrade.inference.chain import Chain
from undegrade.inference.judging import open_judge
from undegrade.inference.restorer import Restorer
from undegrade.inference.run import Options
from undegrade.tasks import Task
from undegrade.weights import store
from undegrade.weights.card import WeightsCard
from undegrade.weights.load import Loaded, open_weights

__all__ = ["load"]

_OPTIONS = {entry.name for entry in fields(Options)}


def load(
    what: str | Path | None = None,
    *,
    task: str | None = None,
    weights: str | Path | None = None,
    network: str | None = None,
    preset: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    backend: str = "torch",
    **rest: Any,
) -> Restorer | Chain | Auto:
    """A Restorer, reusable for any number of pictures.

    With neither a task nor weights, a parameter tells the task (``scale=2``: super-resolution), and without one either
    it is ``auto``.

    Args:
        what: a task (``"denoising"``, ``"derain"``), several in a row (``"denoise,derain"``), the id of weights, or a
            file of weights; short for ``task`` or ``weights``.
        task: what the weights are for, where they do not say so.
        weights: id or file; None takes the best of the known ones for the task.
        network: only weights of this network; with a file, what it is for.
        preset: likewise, which preset.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        dtype: ``"auto"``, ``"float32"``, ``"float16"``, ``"bf16"``.
        backend: ``"torch"``, ``"compile"``, ``"onnx"``, ``"openvino"``, or ``"auto"``, the fastest of the installed.
        **rest: parameters of the task (``sigma=25``, which changes nothing with weights that are blind to it, as the
            shipped ones are), options of the Restorer (``tile``, ``strength``, ``ensemble``, ``max_memory``), and, with
            a file, ``local_train_size`` and numbers of the network.

    Raises:
        UnknownNameError: ``what`` is no task, no weights and no file; or an unknown parameter.
        WeightsError: no weights for the wish, or a file that cannot be used.
        UsageError: an impossible combination, or a value that is out of range or not available here.
    """
    chain, task, weights = _meaning(what, task, weights)
    options = Options(**{name: rest.pop(name) for name in list(rest) if name in _OPTIONS})
    how: dict[str, Any] = {"device": device, "dtype": dtype, "backend": backend, "options": options}
    if chain:
        if weights is not None or network is not None or preset is not None:
            raise UsageError(f"{','.join(one.name for one in chain)}: several tasks choose their own weights")
        return Chain(tuple(_for_task(one, None, own, how) for one, own in _dealt(chain, rest)))
    named = tasks.get(task) if task is not None else None
    if weights is not None:
        return _from_weights(weights, named, (network, preset), rest, how)
    if named is None:
        if network is not None or preset is not None:
            raise UsageError("a task, the id of weights, or a file is needed")
        named = _implied(rest)
    if preset is not None:
        raise UsageError(f"preset={preset}: only with a file of weights")
    return _for_task(named, network, rest, how)


def _meaning(
    what: str | Path | None, task: str | None, weights: str | Path | None
) -> tuple[list[Task], str | None, str | Path | None]:
    """(several tasks, one task, weights): exactly one of the first two may be given by ``what``."""
    for name, value in (("what", what), ("weights", weights), ("task", task)):
        if not (value is None or isinstance(value, str) or (isinstance(value, PathLike) and name != "task")):
            raise UsageError(f"{name}={value!r}: give a name; several tasks as one text, 'denoise,derain'")
        if value == "" and name != "what":
            raise UsageError(f"{name}='': an empty name: leave it out, or give one of undegrade list tasks or weights")
    words = [word.strip() for word in task.split(",")] if task else []
    if what is not None:
        named = what in store.entries() or (what not in ("", *_task_names()) and exists(what))
        if isinstance(what, Path) or Path(what).suffix or named:
            if weights is not None:
                raise UsageError(f"{what}, weights={weights}: give the weights once")
            weights = what
        elif words:
            raise UsageError(f"{what}, task={task}: the first is neither a file nor the id of weights")
        else:
            words = [word.strip() for word in what.split(",")]
            if len(words) == 1 and what not in _task_names():
                raise UnknownNameError("task or weights", what, [*_task_names(), *store.entries()])
    if len(words) > 1:
        return [tasks.get(word) for word in words], None, weights
    return [], words[0] if words else None, weights


def _task_names() -> list[str]:
    known = tasks.catalog.entries()
    return [*known, *(alias for task in known.values() for alias in task.aliases)]


def _dealt(chain: list[Task], given: Mapping[str, Any]) -> list[tuple[Task, dict[str, Any]]]:
    """Each task with the parameters that it knows."""
    known = {parameter.name for task in chain for parameter in task.parameters}
    for name in given:
        if name not in known:
            raise UnknownNameError("parameter", name, known)
    own = [{parameter.name for parameter in task.parameters} for task in chain]
    return [
        (task, {name: value for name, value in given.items() if name in names})
        for task, names in zip(chain, own, strict=True)
    ]


def _implied(parameters: Mapping[str, Any]) -> Task:
    """The task that these parameters belong to; ``auto`` when there are none."""
    known = {entry.name: task for task in tasks.catalog.entries().values() for entry in task.parameters}
    for name in parameters:
        if name not in known:
            raise UnknownNameError("parameter", name, known)
    found = {known[name].name: known[name] for name in parameters}
    if len(found) > 1:
        raise UsageError(f"{', '.join(parameters)}: parameters of {' and '.join(found)}; say which with task=...")
    return next(iter(found.values()), tasks.get("auto"))


def _auto(weights: str | None, network: str | None, parameters: Mapping[str, Any], how: Mapping[str, Any]) -> Auto:
    """The classifier, and with it the Restorers of all tasks, each opened when it is needed."""
    tasks.get("auto").check(parameters)
    judge, card = open_judge(weights)
    if network not in (None, card.network):
        raise UsageError(f"network={network}: auto chooses the networks")
    opened = cache(lambda name: _one(tasks.get(name), None, {}, how))
    if (how["device"], how["dtype"]) != ("auto", "auto") or how["backend"] not in ("auto", "torch"):
        opened("denoising")  # what this machine does not have is told once, before the first picture
    return Auto(judge, card, opened, how["options"])


def _for_task(
    task: Task, network: str | None, parameters: Mapping[str, Any], how: Mapping[str, Any]
) -> Restorer | Auto:
    """What does a task, with the best known weights."""
    if task.name == "auto":
        return _auto(None, network, parameters, how)
    return _one(task, network, parameters, how)


def _one(task: Task, network: str | None, parameters: Mapping[str, Any], how: Mapping[str, Any]) -> Restorer:
    checked = task.check(parameters)
    wish = {entry.name: entry.default for entry in task.parameters if entry.default is not None} | checked
    preferred = next((task.weights[value] for value in wish.values() if value in task.weights), task.weights.get(None))
    stored = store.resolve(task.name, network, wish, preferred)
    return _restorer(open_weights(stored.card.id), stored.card.id, task, checked, how)


def _from_weights(
    weights: str | Path,
    task: Task | None,
    network: tuple[str | None, str | None],
    rest: Mapping[str, Any],
    how: Mapping[str, Any],
) -> Restorer | Auto:
    """The Restorer with weights that were named; what no task knows as a parameter is a number of the network."""
    stored = store.entries().get(str(weights))
    if task is None and stored is not None and stored.card.task:
        task = tasks.get(stored.card.task)
    if task is not None and task.name == "auto":
        if stored is not None and stored.card.task != "auto":
            raise UsageError(f"task=auto: the weights {weights} are for {stored.card.task}")
        return _auto(str(weights), network[0], rest, how)
    asked = [task] if task else tasks.catalog.entries().values()
    known = {parameter.name for one in asked for parameter in one.parameters}
    given = {name: value for name, value in rest.items() if name in known}
    loaded = open_weights(weights, *network, **{name: value for name, value in rest.items() if name not in known})
    if task is None and loaded.card is not None and loaded.card.task:
        task = tasks.get(loaded.card.task)
    if task is None and given:
        raise UsageError(f"{', '.join(given)}: parameters of a task; say which with task=...")
    return _restorer(loaded, str(weights), task, task.check(given) if task else {}, how)


def _restorer(
    loaded: Loaded, source: str, task: Task | None, parameters: Mapping[str, Any], how: Mapping[str, Any]
) -> Restorer:
    card = loaded.card or WeightsCard(
        id=Path(source).stem,
        title=Path(source).name,
        network=loaded.spec.name,
        file=Path(source).name,
        numbers=asdict(loaded.config),
        padding=loaded.spec.official_padding,
        origin=source,
    )
    if task is not None and card.task and task.name != card.task:
        raise UsageError(f"task={task.name}: the weights {card.id} are for {card.task}")
    scale = loaded.spec.scale(loaded.config)
    if parameters.get("scale", scale) != scale:
        raise UsageError(
            f"scale={parameters['scale']}: the weights {card.id} enlarge {scale} times: ask for that, or name others"
        )
    if scale == 1 and task is not None and any(entry.name == "scale" for entry in task.parameters):
        raise UsageError(f"task={task.name}: the weights {card.id} do not enlarge: name others, or what these are for")
    card = card if card.task or task is None else replace(card, task=task.name)
    return Restorer.from_module(
        loaded.module, loaded.spec, loaded.config, task, card=card, parameters=parameters, **how
    )
