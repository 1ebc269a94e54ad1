"""What can be changed in a module, one place at a time."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
_SAID = {"log", "logger", "warnings"}
"""Calls on these only tell somebody something."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed module.

    Attributes:
        line: where it was changed.
        what: the old code and the new.
        source: all of the changed module.
    """

    line: int
    what: str
    source: str


Change = Callable[[ast.AST], ast.AST]


def mutants_of(source: str) -> list[Mutant]:
    """Return every change that is made to a module."""
    tree = ast.parse(source)
    found = []
    for index, node in enumerate(ast.walk(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            target = next(other for at, other in enumerate(ast.walk(changed)) if at == index)
            before = ast.unparse(target)
            replacement = change(target)
            if replacement is not target:
                _replace(changed, target, replacement)
            after = ast.unparse(replacement)
            line = getattr(target, "lineno", 0)
            what = f"{_short(before)}  →  {_short(after)}"
            found.append(Mutant(line, what, ast.unparse(ast.fix_missing_locations(changed))))
    return sorted(found, key=lambda mutant: mutant.line)


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            yield _compare
        case ast.BoolOp():
            yield _bool
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC and not _is_type(node):
            yield _arithmetic
        case ast.UnaryOp(op=ast.Not()):
            yield _positive
        case ast.Constant(value=bool() | int() | float()):
            yield _constant
        case ast.If() | ast.While() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield _negate
        case ast.Expr(value=ast.Call() | ast.Await()) if not _only_tells(node):
            yield _drop


def _positive(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.UnaryOp)
    return node.operand


def _drop(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Expr)
    return ast.copy_location(ast.Pass(), node)


def _compare(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Compare)
    node.ops = [_COMPARE[type(node.ops[0])]()]
    return node


def _bool(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BoolOp)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node


def _arithmetic(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BinOp)
    node.op = _ARITHMETIC[type(node.op)]()
    return node


def _constant(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Constant)
    node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator] # a number
    return node


def _negate(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.If | ast.While | ast.IfExp)
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def _is_type(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.BitOr)


def _only_tells(node: ast.Expr) -> bool:
    call = node.value.value if isinstance(node.value, ast.Await) else node.value
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    return isinstance(call.func.value, ast.Name) and call.func.value.id in _SAID


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                setattr(parent, field, [new if item is old else item for item in value])
                return


def _short(code: str) -> str:
    return code.splitlines()[0][:70]
