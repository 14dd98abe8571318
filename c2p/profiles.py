"""Profiles: complete, commented parameter files that `c2p profile use` puts in place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from c2p.data.files import write_text
from c2p.params import ParameterError, build

FOLDER = "profiles"
FILE = "params.yaml"
PARTS = ("cg3d",)
"""Parts of the pipeline that can be left out: sections with a switch `run`."""


def names(root: Path) -> list[str]:
    """Names of the profiles of a project, sorted."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def text_of(root: Path, name: str) -> str:
    """A profile's text.

    Raises ParameterError: unknown profile.
    """
    if name not in names(root):
        known = ", ".join(names(root)) or f"none: there is no folder {FOLDER}/ here, go to the project's folder"
        raise ParameterError(f"profile: got {name!r}; allowed: {known}")
    return (root / FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def use(root: Path, name: str, settings: list[str]) -> list[str]:
    """Make a profile the project's params.yaml, with `section.key=value` settings on top; returns what changed.

    Comments of the profile are kept. Nothing is written unless the whole is valid.
    Raises ParameterError: unknown profile or key, impossible value.
    """
    text = text_of(root, name)
    for setting in settings:
        text = with_setting(text, setting)
    build(yaml.safe_load(text))
    target = root / FILE
    before = yaml.safe_load(target.read_text(encoding="utf-8")) if target.is_file() else {}
    write_text(target, text)
    return differences(before if isinstance(before, dict) else {}, yaml.safe_load(text))


def leave_out(root: Path, parts: Sequence[str]) -> list[str]:
    """Turn parts of the pipeline off in the project's params.yaml, its comments kept; returns what changed.

    Raises ParameterError: no such part, or no params.yaml.
    """
    for part in parts:
        if part not in PARTS:
            raise ParameterError(f"without: got {part!r}; allowed: {', '.join(PARTS)}")
    path = root / FILE
    if not path.is_file():
        raise ParameterError(f"{path}: no such parameter file; run `c2p profile use demo` to make one")
    text = before = path.read_text(encoding="utf-8")
    for part in parts:
        text = with_setting(text, f"{part}.run=false")
    build(yaml.safe_load(text))
    if text != before:
        write_text(path, text)
    return differences(yaml.safe_load(before), yaml.safe_load(text))


def with_setting(text: str, setting: str) -> str:
    """The profile's text with one `section.key=value` in place of its value; the value is read as YAML.

    Raises ParameterError: not of that form, unknown key, not YAML.
    """
    name, equals, value = setting.partition("=")
    section, dot, key = name.partition(".")
    if not equals or (not dot and name != "profile"):
        raise ParameterError(f"--set: got {setting!r}; allowed: section.key=value, e.g. pretrain.epochs=20")
    try:
        parsed = yaml.safe_load(value) if value else ""
    except yaml.YAMLError:
        raise ParameterError(f"--set: got {setting!r}; the value is not YAML") from None
    current = yaml.safe_load(text)
    if section not in current or (dot and key not in current[section]):
        raise ParameterError(f"--set: got {name!r}; unknown key; `c2p profile show demo` lists them all")
    lines, inside = text.splitlines(), not dot
    for number, line in enumerate(lines):
        if dot and line and not line[0].isspace() and not line.startswith("#"):
            inside = line.startswith(f"{section}:")
        if inside and line.strip().startswith(f"{key if dot else name}:"):
            indent = line[: len(line) - len(line.lstrip())]
            lines[number] = f"{indent}{key if dot else name}: {flow_yaml(parsed)}"
            break
    return "\n".join(lines) + "\n"


def flow_yaml(value: Any) -> str:
    """One value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9).strip()
    return text.removesuffix("\n...").strip()


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Lines `section.key: old -> new` for everything that differs."""
    old, new = _flat(before), _flat(after)
    return [
        f"{key}: {old.get(key, '-')} -> {new.get(key, '-')}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = flow_yaml(value)
    return flat
