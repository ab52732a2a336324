"""There is one way to an apply, and admission stands in it: nothing else in the house could start one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "driftwatch"
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")
}
"""The sandbox stands for other people: a colleague who applies, and the demo's cloud."""
OURS = {name: tree for name, tree in MODULES.items() if not name.startswith("sandbox/")}


def calls(tree: ast.AST, method: str) -> list[ast.Call]:
    """The calls of a method or function of that name."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr == method)
            or (isinstance(node.func, ast.Name) and node.func.id == method)
        )
    ]


def texts(tree: ast.AST) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def function(module: str, name: str) -> ast.FunctionDef:
    (found,) = [
        node for node in ast.walk(OURS[module]) if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    return found


def test_one_module_alone_has_the_command() -> None:
    """Nobody else names terraform's apply, destroy or import among what it runs."""
    words = [
        node
        for node in ast.walk(OURS["terraform/command.py"])
        if isinstance(node, ast.Constant) and node.value == "apply"
    ]
    assert len(words) == 1
    assert words[0] in list(ast.walk(function("terraform/command.py", "argv_of_apply")))
    assert {name for name, tree in OURS.items() if calls(tree, "argv_of_apply")} == {"terraform/session.py"}
    for name, tree in OURS.items():
        if name.startswith("terraform/"):
            assert not texts(tree) & {"destroy", "-destroy", "-auto-approve", "force-unlock"}, name


def test_one_place_starts_what_was_prepared() -> None:
    """An Applier is made by the composition, and only the reconciler prepares and starts with it."""
    makers = {name for name, tree in OURS.items() if calls(tree, "Applier")}
    assert makers == {"cli/compose.py"}
    preparers = {
        name for name, tree in OURS.items() if calls(tree, "prepare") and not name.startswith("terraform/")
    }
    assert preparers == {"pipeline/reconcile.py"}
    starts = [
        call
        for call in calls(OURS["pipeline/reconcile.py"], "start")
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "applier"
    ]
    assert len(starts) == 1
    assert starts[0] in list(ast.walk(function("pipeline/reconcile.py", "_apply")))


def test_nothing_is_started_that_was_not_admitted_and_written_down() -> None:
    """`_apply` starts only after `_begin`; that says yes only after admission, and after the row."""
    lines = [ast.unparse(node) for node in function("pipeline/reconcile.py", "_apply").body]
    text = "\n".join(lines)
    assert text.index("self._begin(") < text.index("applier.start(")
    begin = ast.unparse(function("pipeline/reconcile.py", "_begin"))
    assert begin.index("clerk.before_apply(") < begin.index("isinstance(admission, Held)")
    assert begin.index("isinstance(admission, Held)") < begin.index("self._write_down(")
    assert "return True" not in begin
    row = ast.unparse(function("pipeline/reconcile.py", "_write_down"))
    assert row.index("return True") > row.index("book.begin_apply(")
    writers = [name for name, tree in OURS.items() if calls(tree, "begin_apply")]
    assert writers == ["pipeline/reconcile.py"]
    assert len(calls(OURS["pipeline/reconcile.py"], "_write_down")) == 1


@pytest.mark.parametrize("way", ["before_plan", "before_apply"])
def test_both_questions_come_to_the_one_decision(way: str) -> None:
    askers = {name for name, tree in OURS.items() if calls(tree, "admit")}
    assert askers == {"pipeline/admissions.py"}
    assert "self._ask(" in ast.unparse(function("pipeline/admissions.py", way))
    assert len(calls(function("pipeline/admissions.py", "_ask"), "admit")) == 1
