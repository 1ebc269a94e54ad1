"""The images may run an older patch release of Python than the tests, as Debian's 3.11.2."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def members(tree: ast.Module) -> list[ast.Assign]:
    classes = [one for one in ast.walk(tree) if isinstance(one, ast.ClassDef)]
    enums = [one for one in classes if any("Enum" in ast.unparse(base) for base in one.bases)]
    return [line for one in enums for line in one.body if isinstance(line, ast.Assign)]


def test_no_member_of_an_enum_is_an_empty_tuple() -> None:
    """Python before 3.11.3 gives such a member another value."""
    found = []
    seen = 0
    for path in [*ROOT.glob("apps/**/*.py"), *ROOT.glob("libs/**/*.py"), *ROOT.glob("client/**/*.py")]:
        for member in members(ast.parse(path.read_text())):
            seen += 1
            if isinstance(member.value, ast.Tuple) and not member.value.elts:
                found.append(f"{path.relative_to(ROOT)}: {ast.unparse(member)}")
    assert found == []
    assert seen > 50
