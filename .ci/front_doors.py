"""Writes a Cargo workspace in which every block of Rust in the front doors is a program, in the editions 2021 and 2024.

front_doors.py CRATE FOLDER prints the name of each program that is to be run. The others are to be built only.
"""

import re
import sys
from pathlib import Path

DOORS = {"readme": "README.md", "readme_zh": "README.zh-CN.md", "crate_page": "src/lib.rs"}
MANIFEST = """[package]
name = "front-doors-{edition}"
edition = "{edition}"

[dependencies]
wechatpay-contract = {{ path = "{crate}", features = ["sandbox"] }}
serde_json = "1"
"""


def blocks(door):
    """The blocks of a door, each with the marks behind its language."""
    text = (crate / door).read_text(encoding="utf-8")
    if door.endswith(".rs"):
        # The fence of a block that is a doc test only with the feature.
        text = text.replace('#![cfg_attr(feature = "sandbox", doc = "```")]', "//! ```")
        text = "\n".join(re.findall(r"^//! ?(.*)", text, flags=re.M))
    found = re.findall(r"^```(\S*)\n(.*?)^```$", text, flags=re.M | re.S)
    return [(marks, block) for marks, block in found if marks in ("", "no_run") or marks.startswith("rust")]


def program(block):
    """A program of the block, which has to compile beside an import of `std::error::Error`."""
    block = re.sub(r"^# ?(?!\[)", "", block, flags=re.M)
    if not re.search(r"^fn main\(", block, flags=re.M):
        block = f"{block}fn main() {{}}\n"
    return f"#![allow(unused)]\nuse std::error::Error;\n{block}"


crate, folder = (Path(path).resolve() for path in sys.argv[1:])
for edition in ("2021", "2024"):
    programs = folder / edition / "src/bin"
    programs.mkdir(parents=True)
    (folder / edition / "Cargo.toml").write_text(MANIFEST.format(edition=edition, crate=crate), encoding="utf-8")
    for name, door in DOORS.items():
        found = blocks(door)
        if len(found) < 3:
            sys.exit(f"{door}: found {len(found)} blocks of Rust, wanted 3 or more")
        for number, (marks, block) in enumerate(found, 1):
            if door.endswith(".md") and re.search(r"^#( |$)", block, flags=re.M):
                sys.exit(f"{door}: block {number} has hidden lines, which a code host shows")
            (programs / f"{name}_{number}_{edition}.rs").write_text(program(block), encoding="utf-8")
            if "no_run" not in marks:
                print(f"{name}_{number}_{edition}")
(folder / "Cargo.toml").write_text('[workspace]\nresolver = "2"\nmembers = ["2021", "2024"]\n', encoding="utf-8")
