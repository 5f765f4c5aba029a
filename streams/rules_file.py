"""The rules file: YAML in the shape of a Sigma correlation, read with every error named at once.

What lives here: its keys, and reading them into ``Rules``. What does not: bounds and defaults (``models/rules``), and
writing such a file (``rules_text``). What a file leaves out stays as shipped. Scalars are taken as they are written and
read by the type of their field, so `off` is a mode and not a boolean.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from models.errors import ConfigError
from models.rules import Rules, conflicts
from streams.rules_shape import HEAD, LIMITS, OVERRIDE, RULES, SHADOW_RULES, Fixed, Leaf, Shape, expected, reader

BYTES_MAX = 256 * 1024
DEPTH_MAX = 16
ERRORS_MAX = 100


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error of a file: where, what, and how to put it right."""

    line: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.line}: {self.path}: {self.text}" if self.path else f"{self.line}: {self.text}"


@dataclass(slots=True)
class Read:
    """What a file says: rules where it has no error, and the line of every attribute that it sets."""

    rules: Rules | None
    problems: list[Problem]
    lines: dict[str, int] = field(default_factory=dict)


def load(path: str, tenant: str = "default") -> Rules:
    """The rules of a file for one tenant.

    Raises:
        ConfigError: it cannot be read, or is wrong: every error on a line of its own.
    """
    return rules_of(path, read(path, tenant))


def rules_of(path: str, found: Read) -> Rules:
    """The rules that were read.

    Raises:
        ConfigError: there were errors, each on a line of its own.
    """
    if found.rules is None:
        raise ConfigError("\n".join(f"{path}:{problem}" for problem in found.problems))
    return found.rules


def read(path: str, tenant: str = "default") -> Read:
    """Read a file.

    Raises:
        ConfigError: there is no such file.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}; `rules default` prints one") from error
    return parse(data, tenant)


def parse(data: bytes, tenant: str = "default") -> Read:
    """Read the text of a file; ``tenant`` chooses among its overrides."""
    if len(data) > BYTES_MAX:
        return Read(None, [Problem(1, "", f"larger than {BYTES_MAX // 1024} KiB: split it by tenant")])
    try:
        text = data.decode()
        problems = list(_unsafe(text))
        node = None if problems else yaml.compose(text, yaml.SafeLoader)
    except UnicodeDecodeError:
        return Read(None, [Problem(1, "", "not UTF-8: save it as UTF-8")])
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return Read(None, [Problem(mark.line + 1 if mark else 1, "", f"not YAML: {error.problem}")])
    except yaml.YAMLError:
        return Read(None, [Problem(1, "", "not YAML: it holds characters that YAML does not allow")])
    if problems:
        return Read(None, problems[:ERRORS_MAX])
    walk = _Walk(tenant)
    walk.document(node)
    return walk.result()


def _unsafe(text: str) -> Iterator[Problem]:
    """What is refused before anything is built: nodes that stand for others, depth without end, several documents."""
    depth = documents = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if isinstance(event, yaml.AliasEvent):
            yield Problem(line, "", "aliases (*name) are not read: write the value out")
        if depth > DEPTH_MAX:
            yield Problem(line, "", f"nested deeper than {DEPTH_MAX}")
            return
        if documents > 1:
            yield Problem(line, "", "a second document: put all rules into one")
            return


class _Walk:
    """Goes through the nodes of one file and gathers values, their lines, and errors."""

    def __init__(self, tenant: str) -> None:
        self.problems: list[Problem] = []
        self.values: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self._tenant = tenant
        self._limits: dict[str, list[dict[str, Any]]] = {"orgs": [], "plans": []}
        self._shadow: tuple[dict[str, Any], dict[str, int]] | None = None
        self._own: tuple[dict[str, Any], dict[str, int]] = {}, {}  # of the tenant's override

    def wrong(self, node: yaml.Node, path: str, text: str) -> None:
        """Note an error at a node."""
        self.problems.append(Problem(node.start_mark.line + 1, path, text))

    def result(self) -> Read:
        """The rules, where nothing was wrong with them."""
        self.values |= self._own[0]
        self.lines |= self._own[1]
        self.values |= {name: entries for name, entries in self._limits.items() if entries}
        built = _laid({}, self.values)
        if self._shadow is not None:
            values, lines = self._shadow
            tried = _laid({"campaign": built["campaign"]}, values)["campaign"]
            built["shadow"] = tried | {"mode": "shadow"}
            self.lines |= {name.replace("campaign", "shadow", 1): line for name, line in lines.items()}
        rules = msgspec.convert(built, Rules)
        broken = {problem.path.split(".")[0] for problem in self.problems}
        for attribute, text in conflicts(rules):
            inside = [line for name, line in self.lines.items() if name.startswith(f"{attribute}.")]
            near = [line for name, line in self.lines.items() if name.startswith(attribute.split(".")[0])]
            line = self.lines.get(attribute, min(inside or near, default=1))
            if attribute.split(".")[0] not in broken:
                self.problems.append(Problem(line, attribute.replace("_", "-"), text))
        problems = sorted(set(self.problems))[:ERRORS_MAX]
        return Read(None if problems else rules, problems, self.lines)

    def document(self, node: yaml.Node | None) -> None:
        """The whole file."""
        if node is None:
            self.problems.append(Problem(1, "", "empty: `distilwatch rules default` prints a file to begin with"))
            return
        found = self.mapping(node, "", HEAD)
        self.take(found, "", HEAD, (self.values, self.lines))
        self.rules(found.get("rules"), "", (RULES, self.values, self.lines))
        if "shadow" in found:
            self._shadow = {}, {"campaign": found["shadow"].start_mark.line + 1}
            self.rules(found["shadow"], "shadow.", (SHADOW_RULES, *self._shadow))
        for at, item in enumerate(self.items(found.get("overrides"), "overrides")):
            self.override(item, f"overrides[{at}]")

    def rules(self, node: yaml.Node | None, path: str, into: tuple[dict[str, Shape], dict[str, Any], Any]) -> None:
        """A list of rules, each with its id."""
        shapes, values, lines = into
        seen: dict[str, int] = {}
        for at, item in enumerate(self.items(node, f"{path}rules")):
            rule_id = self._id(item, f"{path}rules[{at}]", shapes)
            if rule_id is None:
                continue
            if rule_id in seen:
                self.wrong(item, f"{path}{rule_id}", f"written twice, first in line {seen[rule_id]}: keep one")
            seen.setdefault(rule_id, item.start_mark.line + 1)
            shape = shapes[rule_id]
            self.take(self.mapping(item, f"{path}{rule_id}", shape), f"{path}{rule_id}", shape, (values, lines))

    def _id(self, item: yaml.Node, path: str, shapes: dict[str, Shape]) -> str | None:
        """The id of a rule, or None where it has none that is known."""
        pairs = item.value if isinstance(item, yaml.MappingNode) else []
        found = next((value for key, value in pairs if key.value == "id"), None)
        if found is None:
            self.wrong(item, path, f"has no `id`: one of {', '.join(shapes)}")
        elif found.value not in shapes:
            self.wrong(found, f"{path}.id", _unknown("rule", str(found.value), shapes))
        else:
            return str(found.value)
        return None

    def override(self, node: yaml.Node, path: str) -> None:
        """What holds for one tenant, plan or organisation only."""
        plain = {key.value for key, _ in node.value} if isinstance(node, yaml.MappingNode) else set()
        if "tier" in plain:
            self.wrong(node, path, "events call a tier `plan`: name it so")
            return
        found = self.mapping(node, path, OVERRIDE)
        named = [name for name in ("tenant", "plan", "org") if name in found]
        if len(named) != 1:
            self.wrong(node, path, "name one of `tenant`, `plan` and `org`")
            return
        name = self.text(found[named[0]], f"{path}.{named[0]}")
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        if named != ["tenant"]:
            if "mode" in found:
                who = "an organisation" if named == ["org"] else "a plan"
                self.wrong(found["mode"], f"{path}.mode", f"{who} has limits and no mode: take it out")
            self.rules(found.get("rules"), f"{path}.", (LIMITS, values, lines))
            if name:
                limits = {key.split(".")[1]: value for key, value in values.items()}
                self._limits[f"{named[0]}s"].append({named[0]: name} | limits)
                self.lines[f"{named[0]}s"] = node.start_mark.line + 1
            return
        self.take({key: value for key, value in found.items() if key == "mode"}, path, OVERRIDE, (values, lines))
        self.rules(found.get("rules"), f"{path}.", (RULES, values, lines))
        if name == self._tenant:
            self._own = values, lines

    def items(self, node: yaml.Node | None, path: str) -> list[yaml.Node]:
        """The entries of a list; none where it is left out."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.wrong(node, path, "expected a list: begin each entry with `- `")
            return []
        return list(node.value)

    def mapping(self, node: yaml.Node, path: str, shape: Shape) -> dict[str, yaml.Node]:
        """The known keys of a mapping with their nodes."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, path, f"expected keys and values: {', '.join(shape)}")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name not in shape:
                self.wrong(key, _joined(path, name), _unknown("key", name, shape))
            elif name in found:
                line = found[name].start_mark.line + 1
                self.wrong(key, _joined(path, name), f"written twice, first in line {line}: keep one")
            else:
                found[name] = value
        return found

    def take(self, found: Mapping[str, yaml.Node], path: str, shape: Shape, into: tuple[Any, Any]) -> None:
        """Read every value of a mapping by its place in the shape."""
        values, lines = into
        for name, node in found.items():
            at, wanted = _joined(path, name), shape[name]
            if isinstance(wanted, Leaf):
                value = self.scalar(node, at, wanted)
                if value is not None:
                    values[wanted.attribute], lines[wanted.attribute] = value, node.start_mark.line + 1
            elif isinstance(wanted, Fixed):
                self.fixed(node, at, wanted)
            elif isinstance(wanted, dict):
                self.take(self.mapping(node, at, wanted), at, wanted, into)
            elif isinstance(wanted, list):
                values["campaign.ladder"] = self.steps(node, at, wanted[0])
                lines["campaign.ladder"] = node.start_mark.line + 1

    def steps(self, node: yaml.Node, path: str, shape: Shape) -> list[dict[str, Any]]:
        """The ladder of actions."""
        steps = []
        for at, item in enumerate(self.items(node, path)):
            values: dict[str, Any] = {}
            found = self.mapping(item, f"{path}[{at}]", shape)
            self.take(found, f"{path}[{at}]", shape, (values, {}))
            missing = [key for key in ("action", "multiplier") if key not in found]
            if missing:
                self.wrong(item, f"{path}[{at}]", f"has no `{'`, `'.join(missing)}`")
            self.lines[f"campaign.ladder.{at}"] = item.start_mark.line + 1
            steps.append({"action": "observe", "multiplier": 1.0} | values)
        return steps

    def fixed(self, node: yaml.Node, path: str, wanted: Fixed) -> None:
        """A key that may be written and not changed."""
        written = [item.value for item in node.value] if isinstance(node, yaml.SequenceNode) else node.value
        if written != wanted.value:
            value = f"[{', '.join(wanted.value)}]" if isinstance(wanted.value, list) else wanted.value
            self.wrong(node, path, f"must be {value}: {wanted.why}")

    def text(self, node: yaml.Node, path: str) -> str:
        """A scalar as it is written."""
        if isinstance(node, yaml.ScalarNode) and 0 < len(node.value) <= 256:
            return str(node.value)
        self.wrong(node, path, "expected a text of 1 to 256 characters")
        return ""

    def scalar(self, node: yaml.Node, path: str, leaf: Leaf) -> Any:
        """The value of a scalar by the type of its field, or None where it is wrong."""
        hint = typing.get_type_hints(leaf.owner, include_extras=True)[leaf.name]
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(node, path, f"expected {expected(hint, leaf.name)}")
            return None
        try:
            value = reader(hint, leaf.name)(str(node.value))
            return msgspec.convert(value, hint)
        except (ValueError, msgspec.ValidationError):
            self.wrong(node, path, f"{node.value[:60]!r}: expected {expected(hint, leaf.name)}")
            return None


def _laid(below: dict[str, Any], values: Mapping[str, Any]) -> Any:
    """The rules as shipped as plain values, with those of ``below`` and then single attributes laid over them."""
    built = msgspec.to_builtins(Rules()) | msgspec.json.decode(msgspec.json.encode(below))
    for attribute, value in values.items():
        *parents, last = attribute.split(".")
        owner = built
        for parent in parents:
            owner = owner[parent]
        owner[last] = value
    return built


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _unknown(kind: str, name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"unknown {kind} {name[:60]!r}: " + (f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}")
