"""Checks what the crate's dependencies declare, on every platform: their licences and the Rust versions they need.

Reads `cargo metadata` from standard input. Development dependencies are left out: users do not build them.
"""

import json
import re
import sys

LICENCES = {"MIT", "Apache-2.0", "ISC", "BSD-3-Clause", "Unicode-3.0", "CDLA-Permissive-2.0"}


def main():
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    root = packages[metadata["resolve"]["root"]]
    used = [packages[id] for id in reachable(metadata["resolve"])]
    problems = [
        f"{title(package)}: licence {package['license']}: wanted one of {', '.join(sorted(LICENCES))}"
        for package in used
        if not is_allowed(package["license"] or "")
    ]
    problems += [
        f"{title(package)}: needs Rust {package['rust_version']}: wanted {root['rust_version']} at most"
        for package in used
        if version(package["rust_version"] or "0") > version(root["rust_version"])
    ]
    silent = sorted(title(package) for package in used if not package["rust_version"])
    print(f"{len(used)} crates on all platforms, with all features and build dependencies")
    print(f"of these, {len(silent)} declare no Rust version: {', '.join(silent)}")
    sys.exit("\n".join(problems) or 0)


def reachable(resolve):
    """The ids of the packages that users build: the root and all it needs, development dependencies aside."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    found, waiting = set(), [resolve["root"]]
    while waiting:
        id = waiting.pop()
        if id in found:
            continue
        found.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return found


def is_allowed(expression):
    """Whether each part of an SPDX expression without nested parentheses leaves a choice that is allowed."""
    return all(
        LICENCES & set(re.split(r" OR |/", part.strip("() "))) for part in expression.split(" AND ")
    )


def version(text):
    return [int(number) for number in (text + ".0.0").split(".")[:3]]


def title(package):
    return f"{package['name']} {package['version']}"


main()
