from pathlib import Path
from typing import Any

import pytest

from runsd.definitions.catalog import Catalog
from runsd.definitions.schemas import _Identity, _validator, schema_fault, violations
from runsd.model.errors import FieldViolation, InvalidRequest, NotFound, NotPossible
from runsd.model.targets import Command, Definition, Problem, Project, Target


def project(id: str, **problems: str) -> Project:
    definitions = {}
    for name, problem in problems.items():
        target = Target.parse(f"task:{name}")
        found = (Problem("runs.toml", "command", problem),) if problem else ()
        definitions[str(target)] = Definition(target, Command(("x",)), "runs.toml", Path("/p"), problems=found)
    return Project(id, Path("/") / id, definitions)


def test_an_empty_id_is_the_only_project() -> None:
    assert Catalog([project("a")]).project("").id == "a"
    with pytest.raises(InvalidRequest, match="this daemon serves: a, b"):
        Catalog([project("b"), project("a")]).project("")
    with pytest.raises(InvalidRequest, match="none"):
        Catalog([]).project("")


def test_an_unknown_project_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean sales"):
        Catalog([project("sales"), project("b")]).project("sale")


def test_two_projects_of_one_id_are_refused() -> None:
    other = Project("a", Path("/other"), {})
    with pytest.raises(ValueError, match=r"two projects have the id 'a': /a and /other"):
        Catalog([project("a"), other])


def test_definitions() -> None:
    catalog = Catalog([project("a", sync="", broken="is empty")])
    assert catalog.definition("", "task:sync").target.id == "sync"
    with pytest.raises(InvalidRequest) as invalid:
        catalog.definition("", "sync")
    assert [v.field for v in invalid.value.violations] == ["target"]
    with pytest.raises(NotFound, match="did you mean task:sync"):
        catalog.definition("", "task:synk")
    with pytest.raises(NotFound, match="known targets: task:broken, task:sync"):
        catalog.definition("", "workflow:zzzzzzzz")
    with pytest.raises(NotPossible, match=r"runs.toml: command: is empty") as broken:
        catalog.definition("", "task:broken")
    assert broken.value.reason == "TARGET_BROKEN"
    assert catalog.described("", "task:broken").problems


def test_replacing_leaves_the_holder_of_the_old_undisturbed() -> None:
    catalog = Catalog([project("a", old="")])
    held = catalog.project("a")
    catalog.replace(project("a", new=""))
    assert list(catalog.project("a").definitions) == ["task:new"]
    assert list(held.definitions) == ["task:old"]
    with pytest.raises(NotPossible, match="restart the daemon"):
        catalog.replace(project("b"))


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer", "maximum": 2**64}, "rows": {"items": {"type": "string"}}},
}


def test_violations_name_the_path_inside() -> None:
    assert violations(SCHEMA, {"id": 2**63}, "input_json") == []
    found = violations(SCHEMA, {"rows": ["a", 1]}, "input_json")
    assert found == [
        FieldViolation("input_json", 'at $: "id" is a required property'),
        FieldViolation("input_json", 'at $.rows[1]: 1 is not of type "string"'),
    ]


def test_a_document_that_cannot_be_checked_is_a_violation() -> None:
    deep: Any = None
    for _ in range(5000):
        deep = [deep]
    (found,) = violations({"type": "object"}, deep, "input_json")
    assert "cannot be checked" in found.description


def test_a_schema_is_compiled_once() -> None:
    schema = {"type": "string"}
    violations(schema, 1, "f")
    assert _validator(_Identity(schema)) is _validator(_Identity(schema))
    assert _validator(_Identity(schema)) is not _validator(_Identity(dict(schema)))


def test_schema_faults() -> None:
    assert schema_fault(SCHEMA) == ""
    assert schema_fault({"properties": {"a b": {"type": 1}}}).startswith('at $.properties["a b"].type: ')
    assert "Retrieval is disabled" in schema_fault({"$ref": "file:///etc/hostname"})
