"""What is wrong with a configuration file, and where: faults of YAML and of its values -> lines for people."""

from __future__ import annotations

import difflib
from typing import Any, get_args

import yaml
from pydantic import BaseModel


class ConfigError(Exception):
    """The configuration is refused. The text has one line per fault: file, line, what is wrong, what would be right."""


def refuse_repeated_keys(node: yaml.Node, name: str) -> None:
    """YAML takes the last of two equal keys in silence; here it is refused."""
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(
                    f"{name}:{key.start_mark.line + 1}: the key `{key.value}` stands here twice; keep one"
                )
            seen.add(key.value)
            children.append(value)
    elif isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    for child in children:
        refuse_repeated_keys(child, name)


def explain(root: yaml.Node, name: str, fault: Any, schema: type[BaseModel]) -> str:
    """One fault in one line: where, what is wrong, what would be right."""
    place = tuple(fault["loc"])
    dotted = ".".join(str(part) for part in place)
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        known = _keys_at(schema, place[:-1])
        # Letters that changed places first: `modle` is nearer to `model` than to `mode`.
        swapped = [key for key in known if sorted(key) == sorted(str(place[-1]))]
        close = swapped or difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
        return f"{name}:{_line(root, place, of_key=True)}: unknown key `{dotted}`; {hint}"
    if fault["type"] == "missing":
        return f"{name}:{_line(root, place[:-1])}: the key `{dotted}` is missing"
    subject = f"{dotted}: " if dotted else ""
    return f"{name}:{_line(root, place)}: {subject}{message[0].lower()}{message[1:]}{_given(fault)}"


def _given(fault: Any) -> str:
    """The value that was refused, where the message does not show it already."""
    value = fault["input"]
    if isinstance(value, (str, int, float, bool)) and not str(fault["msg"]).startswith("Value error"):
        return f", not {value!r}"
    return ""


def _keys_at(schema: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at `place` knows."""
    section = schema
    for part in place:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            section = next(kind for kind in (*get_args(annotation), annotation) if isinstance(kind, type))
    return [field.alias or name for name, field in section.model_fields.items()]


def _line(root: yaml.Node, place: tuple[int | str, ...], *, of_key: bool = False) -> int:
    """The line, from 1, of the value (or key) at `place`, or of the nearest enclosing one."""
    node, line = root, root.start_mark.line + 1
    for depth, part in enumerate(place):
        found = _child(node, part)
        if found is None:
            break
        key, node = found
        last = depth == len(place) - 1
        line = (key.start_mark.line if (last and of_key) or key is not node else node.start_mark.line) + 1
    return line


def _child(node: yaml.Node, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value nodes of one step down; a list's item is its own key."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
