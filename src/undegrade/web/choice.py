"""The controls with which a visitor says what is to be done with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import gradio as gr

from undegrade.web.known import offered, plain, weights
from undegrade.web.wish import default_task

__all__ = ["Choice", "button"]


class Choice:
    """The controls of a wish, made from the catalogue of tasks."""

    def __init__(self, task: str | None) -> None:
        rows = offered()
        self.fixed = task
        first = task or default_task()
        self.inputs: list[Any] = []
        self.names: list[str] = []
        if task is None:
            titles = [(plain(row["name"]), row["name"]) for row in rows]
            self._add("task", gr.Dropdown(titles, value=first, label="What to take away", filterable=False))
        self._add("strength", gr.Slider(0, 1, value=1, step=0.05, label="Strength"))
        self.of_task = {row["name"]: [one["name"] for one in row["parameters"]] for row in rows}
        self.rules = {one["name"]: one for row in rows for one in row["parameters"]}
        with gr.Accordion("More", open=False):
            for name, rule in self.rules.items():
                self._add(name, _control(rule, name in self.of_task[first]))
            those = gr.Dropdown(_weights(first), value="", label="Weights", filterable=False)
            self._add("weights", those)
            best = gr.Checkbox(label="Best quality: averages eight turned copies, eight times as slow")
            self._add("ensemble", best)
            self._add("keep_format", gr.Checkbox(label="Keep the file's format instead of PNG"))
        named = [self.inputs[self.names.index(name)] for name in self.rules]
        button(those.input, self._asked_by, those, named)
        for name, control in zip(self.rules, named, strict=True):
            if self.rules[name]["choices"]:
                button(control.input, partial(_still_fitting, name), [those, control], those)
        if task is None:

            def chosen(name: str) -> list[Any]:
                own = [self._parameter(one, name) for one in self.rules]
                return [gr.update(choices=_weights(name), value=""), *own]

            button(self.inputs[0].change, chosen, self.inputs[0], [those, *named])

    def _add(self, name: str, component: Any) -> None:
        self.names.append(name)
        self.inputs.append(component)

    def _parameter(self, name: str, task: str) -> Any:
        return gr.update(visible=name in self.of_task[task], value=self.rules[name]["default"])

    def _asked_by(self, name: str) -> list[Any]:
        """The parameters that weights leave no choice of, such as the scale."""
        own = _fixed(name)
        return [gr.update(value=own[one]) if one in own else gr.skip() for one in self.rules]

    def fields(self, values: Sequence[Any]) -> dict[str, Any]:
        """The controls' values as fields of a wish."""
        found = dict(zip(self.names, values, strict=True))
        if self.fixed is not None:
            found["task"] = self.fixed
        found["ensemble"] = 8 if found["ensemble"] else 1
        hidden = set(self.rules) - set(self.of_task[found["task"]])
        return {name: value for name, value in found.items() if value is not None and name not in hidden}


def _control(rule: dict[str, Any], visible: bool) -> Any:
    name, text = rule["name"].capitalize(), rule["help"][:1].upper() + rule["help"][1:]
    if rule["choices"]:
        return gr.Radio(rule["choices"], value=rule["default"], label=name, info=text, visible=visible)
    info = f"{text}; empty: judged by itself" if rule["auto"] else text
    low, high = rule["low"], rule["high"]
    return gr.Number(label=name, info=info, minimum=low, maximum=high, value=rule["default"], visible=visible)


def _weights(task: str) -> list[tuple[str, str]]:
    return [("The usual for this", ""), *((row["name"], row["name"]) for row in weights(task))]


def _fixed(name: str) -> dict[str, Any]:
    """The parameters of which weights know one value."""
    own: dict[str, Any] = next((row["parameters"] for row in weights() if row["name"] == name), {})
    return {one: value for one, value in own.items() if not isinstance(value, dict | list | tuple)}


def _still_fitting(parameter: str, name: str, value: Any) -> Any:
    """The weights, or the usual ones where those that were chosen do not do what is asked for now."""
    return gr.skip() if _fixed(name).get(parameter, value) == value else gr.update(value="")


def button(event: Any, function: Any, inputs: Any, outputs: Any) -> None:
    """Binds a control; nothing of it appears in gradio's own API, the documented one is beside it."""
    event(
        function,
        inputs,
        outputs,
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )
