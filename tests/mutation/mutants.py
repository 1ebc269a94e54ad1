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
_LOGGERS = {"log", "logger", "warnings"}
_DECLARATIONS = {"dataclass", "Struct", "NewType", "TypeVar"}


Change = Callable[[ast.AST], ast.AST]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change to a module.

    Attributes:
        line: where it is changed.
        what: the old code and the new.
        function: name and first line of the outermost function around the change, as its code object has them; None:
            the change is in code that runs as the module is imported.
        lines: lines of which one is executed by each run of the changed code.
    """

    line: int
    what: str
    function: tuple[str, int] | None
    lines: range
    _tree: ast.Module
    _index: int
    _change: Change

    @property
    def name(self) -> str:
        """What tells it from the others of its module, also when lines have moved."""
        return f"{self.function[0] if self.function else 'module'}: {self.what}"

    def changed(self) -> ast.Module:
        """Return the changed module. Its lines are those of the module as it was."""
        tree = copy.deepcopy(self._tree)
        target = next(node for index, node in enumerate(ast.walk(tree)) if index == self._index)
        replacement = self._change(target)
        if replacement is not target:
            _replace(tree, target, replacement)
        return ast.fix_missing_locations(tree)


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def mutants_of(source: str) -> list[Mutant]:
    """Return every change that is made to a module."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for index, node in enumerate(ast.walk(tree)):
        lineage = list(_lineage(node, parents))
        if any(_is_left_out(parent, child) for child, parent in lineage):
            continue
        for change in _changes(node):
            what = f"{_short(ast.unparse(node))}  →  {_short(ast.unparse(change(copy.deepcopy(node))))}"
            line = getattr(node, "lineno", 0)
            found.append(Mutant(line, what, _function(lineage), _lines(node, lineage), tree, index, change))
    return sorted(found, key=lambda mutant: mutant.line)


def _is_left_out(parent: ast.AST, child: ast.AST) -> bool:
    """Return whether what a node holds is not changed.

    Type annotations and the flags of declarations (`slots`, `frozen`, `kw_only`) are checked by mypy and make no
    difference to a test. What is logged is for people to read. `if TYPE_CHECKING` is never true, and
    `assert_never` never runs.
    """
    match parent:
        case ast.AnnAssign() | ast.arg():
            return child is parent.annotation
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return child is parent.returns
        case ast.Call(func=ast.Name(id=called)):
            return called in _DECLARATIONS
        case ast.Expr():
            return _only_tells(parent)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _changes(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            yield _compare
        case ast.BoolOp():
            yield _bool
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _ARITHMETIC:
            yield _arithmetic
        case ast.UnaryOp(op=ast.Not()):
            yield _positive
        case ast.Constant(value=bool() | int() | float()):
            yield _constant
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
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
    assert isinstance(node, ast.BinOp | ast.AugAssign)
    node.op = _ARITHMETIC[type(node.op)]()
    return node


def _constant(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Constant)
    node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator] # a number
    return node


def _negate(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.If | ast.While | ast.IfExp)
    node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
    return node


def _only_tells(node: ast.Expr) -> bool:
    call = node.value.value if isinstance(node.value, ast.Await) else node.value
    if not isinstance(call, ast.Call):
        return False
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id == "assert_never"
    match call.func.value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.lstrip("_") in _LOGGERS
    return False


def _lineage(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield a node with its parent, the parent with its own, and so on."""
    while node in parents:
        yield node, parents[node]
        node = parents[node]


def _function(lineage: list[tuple[ast.AST, ast.AST]]) -> tuple[str, int] | None:
    """Return the outermost function in whose body a node is. Defaults and decorators are outside."""
    outermost = None
    for index, (child, parent) in enumerate(lineage):
        if isinstance(parent, _Function) and child in parent.body:
            outermost = index
    if outermost is None:
        return None
    function = lineage[outermost][1]
    assert isinstance(function, _Function)
    classes = [parent.name for _, parent in lineage[outermost:] if isinstance(parent, ast.ClassDef)]
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return ".".join([*reversed(classes), function.name]), first


def _lines(node: ast.AST, lineage: list[tuple[ast.AST, ast.AST]]) -> range:
    """Return the lines of the smallest statement around a node, without those of the statements in it."""
    statement = next((one for one in (node, *(parent for _, parent in lineage)) if isinstance(one, ast.stmt)), None)
    if statement is None:
        return range(0)
    last = getattr(statement, "end_lineno", None) or statement.lineno
    body = getattr(statement, "body", None)
    if body and not isinstance(statement, _Function | ast.ClassDef):
        last = max(statement.lineno, body[0].lineno - (not isinstance(statement, ast.While)))
    return range(statement.lineno, last + 1)


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
