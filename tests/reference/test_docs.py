"""The pages lead somewhere: links, navigation, commands, metrics and tests that they name exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaiqueue.cli import app
from tests.reference.pages import metrics_page
from tools.site import DOCS, ROOT, links

PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / "README.md", ROOT / "lua" / "README.md"]
TESTS = ROOT / "tests"
NAMED_TEST = re.compile(r"`(\w+/test_\w+\.py)(?:::(test_\w+)(?:\[([^\]]+)\])?)?`")


def test_every_page_is_in_the_navigation() -> None:
    nav = set(_pages_of(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    inside = {page for page in nav if not page.startswith("source/")}
    assert inside == {str(page.relative_to(DOCS)) for page in PAGES}
    linked = {target for page in PAGES for target, _ in _targets(page)}
    assert {ROOT / page.removeprefix("source/") for page in nav - inside} <= linked, (
        "the site has what pages link to"
    )


def _pages_of(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from _pages_of(value)


def _targets(page: Path) -> Iterator[tuple[Path, str]]:
    for link in links(page.read_text()):
        yield (page.parent / link[1]).resolve(), link[2] or ""


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in plain}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target, anchor in _targets(page):
        assert target.is_file(), target
        assert target.is_relative_to(ROOT), target
        assert not anchor or anchor[1:] in _anchors(target), f"{target}{anchor}"
    for anchor in re.findall(r"\]\(#([^)]+)\)", page.read_text()):
        assert anchor in _anchors(page), anchor


def test_every_command_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = 0
    for page in [*PAGES, *OTHERS]:
        for code in re.findall(r"`[^`]+`", page.read_text().replace("\n", "\0").replace("```", "`")):
            shown = code.strip("`").replace("\0", "\n")
            for target in re.findall(r"^make ([a-z-]+)", shown, re.MULTILINE):
                assert target in targets, f"{page.name}: make {target}"
            for line in re.findall(r"^scaiqueue ([a-z-]+.*)$", shown, re.MULTILINE):
                _check_command(page, line.partition("#")[0].split())
                named += 1
    assert named > 40


def _check_command(page: Path, words: list[str]) -> None:
    """The words name a command, and its options are among those that it has."""
    command = app
    while words and not words[0].startswith("-") and words[0] in [*command]:
        command = command[words.pop(0)]
    assert command is not app, f"{page.name}: scaiqueue {words}"
    if command.default_command is None:
        assert not words, f"{page.name}: {command.name} has no {words[0]}"
        return
    known = {name for argument in command.assemble_argument_collection() for name in argument.names}
    for word in words:
        if word == "--help":
            continue
        assert not word.startswith("--") or word in known, f"{page.name}: {command.name} {word}"


def test_every_metric_of_a_page_exists() -> None:
    known = set(re.findall(r"`(scaiqueue_\w+)`", metrics_page()))
    for page in PAGES:
        for name in re.findall(r"\b(scaiqueue_[a-z_]*[a-z])(?=[^\w/.]|$)", page.read_text()):
            bare = re.sub(r"_(bucket|sum|count)$", "", name)
            assert bare in known or name in ("scaiqueue_agents", "scaiqueue_lua"), f"{page.name}: {name}"


def test_every_test_that_a_page_names_exists() -> None:
    named = 0
    for page in PAGES:
        for file, test, case in NAMED_TEST.findall(page.read_text()):
            source = (TESTS / file).read_text()
            assert not test or f"def {test}(" in source, f"{page.name}: {file}::{test}"
            assert not case or f'"{case}"' in source, f"{page.name}: {file}::{test}[{case}]"
            named += 1
    assert named >= 30
