"""Checks the map at the top of src/lib.rs: every file has a room, no import goes down the map, and no two files import
each other.
"""

import re
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"


def code(path):
    """The code of a file without comments, texts and its tests."""
    text = path.read_text(encoding="utf-8")
    text = re.split(r"^#\[cfg\((?:all\()?test[^\n]*\]\n(?:#\[allow\([^\]]*\)\]\n)?mod \w+ \{", text, flags=re.M)[0]
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)


def module(path):
    """The module path of a file, as a tuple of names."""
    names = path.relative_to(SRC).with_suffix("").parts
    return names[:-1] if names[-1] in ("mod", "lib") else names


def expand(tree):
    """All paths of a use tree, each with the name that it brings in."""
    depth, parts, start = 0, [], 0
    for at, char in enumerate(tree + ","):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(tree[start:at].strip())
            start = at + 1
    for part in filter(None, parts):
        group = re.fullmatch(r"(.*?)(?:::)?\{(.*)\}", part, flags=re.S)
        if group:
            for path, name in expand(group[2]):
                yield ("::".join(filter(None, [group[1].strip(), path])), name)
        else:
            path, _, alias = part.partition(" as ")
            yield path.removesuffix("::self"), (alias or path.removesuffix("::self").split("::")[-1]).strip()


files = {module(path): path for path in sorted(SRC.rglob("*.rs")) if path.name != "tests.rs"}
texts = {name: code(path) for name, path in files.items()}
uses = {
    name: [use for found in re.findall(r"\buse\s+([^;]+);", text) for use in expand(found)]
    for name, text in texts.items()
}


def absolute(here, path):
    """The names of a path from the crate's root, or None if it leads to another crate."""
    names, at = path.split("::"), ()
    if names[0] == "crate":
        names.pop(0)
    elif names[0] in ("self", "super"):
        at = here
        while names and names[0] in ("self", "super"):
            at = at[:-1] if names.pop(0) == "super" else at
    elif here + (names[0],) in files:
        at = here
    else:
        return None
    return at + tuple(names)


def target(names, seen=()):
    """The file in which the item of an absolute path is defined, through any re-exports."""
    at = next(names[:length] for length in range(len(names), -1, -1) if names[:length] in files)
    if at == names or names in seen:
        return at
    for path, name in uses[at]:
        if name == names[len(at)]:
            onward = absolute(at, path)
            if onward is None:
                return None
            return target(onward + names[len(at) + 1 :], (*seen, names))
    return at


imports = {}
for here, text in texts.items():
    # A re-export is no import.
    text = re.sub(r"\bpub(?:\([^)]*\))?\s+use\s[^;]+;", "", text)
    paths = [path for use in re.findall(r"\buse\s+([^;]+);", text) for path, _ in expand(use)]
    paths += re.findall(r"\b(?:crate|self|super)(?:::\w+)+", text)
    found = {target(names) for names in (absolute(here, path) for path in paths) if names is not None}
    imports[here] = found - {None, here}

rooms = re.findall(r"^// (\w+)(?:\.rs|/) +\S", (SRC / "lib.rs").read_text(encoding="utf-8"), flags=re.M)
problems = []


def show(name):
    return str(files[name].relative_to(SRC))


for name in files:
    if name and name[0] not in rooms:
        problems.append(f"{show(name)}: no room for it in the map of src/lib.rs")
problems += [f"{room}: a room of the map without a file" for room in rooms if (room,) not in files]
for here, found in imports.items():
    for there in sorted(found):
        if not here or not there or here[0] not in rooms or there[0] not in rooms:
            continue
        if rooms.index(there[0]) > rooms.index(here[0]):
            problems.append(f"{show(here)} imports {show(there)}, whose room comes later in the map")
        if here < there and here in imports[there]:
            problems.append(f"{show(here)} and {show(there)} import each other")
print(*problems, f"{len(files)} files in {len(rooms)} rooms, {len(problems)} problems", sep="\n")
sys.exit(bool(problems))
