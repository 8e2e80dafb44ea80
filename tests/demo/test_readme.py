"""The demo's README documents every directive and none that does not exist."""

import re
from dataclasses import fields
from pathlib import Path

import demo
from demo.directives import Directive

README = Path(demo.__file__).with_name("README.md")


def test_every_directive_is_documented() -> None:
    rows = re.findall(r"^\| `([a-z_0-9]+)[=`]", README.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(field.name for field in fields(Directive))
