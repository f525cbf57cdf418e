"""Builds the documentation site into .site/html: `make docs`. A link that leads nowhere ends it.

Pages may link to what lies outside docs/: it comes with the site, under source/, so that nothing needs the
repository's host or the internet.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / ".site"
STAGE = SITE / "docs"

CODE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^()#\s]+)(#[^()\s]*)?(?=\))")
# What a browser would fetch from elsewhere, but for links that a reader follows.
FETCHED = re.compile(
    r"""<(?:script|img|iframe)[^>]+src=["']?https?:|<link[^>]+rel=["']?stylesheet[^>]+https?:"""
)


def links(text: str) -> Iterator[re.Match[str]]:
    """The relative links of a page, but for what its code shows; group 1 is the path, 2 the anchor."""
    hidden = [span.span() for span in CODE.finditer(text)]
    for link in LINK.finditer(text):
        if not any(start <= link.start() < end for start, end in hidden):
            yield link


def staged(path: Path) -> Path:
    """Where a file of the repository stands in the site."""
    if path.is_relative_to(DOCS):
        return STAGE / path.relative_to(DOCS)
    return STAGE / "source" / path.relative_to(ROOT)


def stage() -> None:
    """Copies docs/ and what its pages link to, with their links set to where that stands."""
    shutil.rmtree(STAGE, ignore_errors=True)
    waiting = [path for path in sorted(DOCS.rglob("*")) if path.is_file()]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        target = staged(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copy(path, target)
            continue
        text, done, parts = path.read_text(), 0, []
        for link in links(text):
            linked = (path.parent / link[1]).resolve()
            if not linked.is_file() or not linked.is_relative_to(ROOT):
                sys.exit(f"{path.relative_to(ROOT)}: {link[1]} is no file of the repository")
            if linked not in seen:
                seen.add(linked)
                waiting.append(linked)
            parts += [text[done : link.start(1)], os.path.relpath(staged(linked), target.parent)]
            done = link.end(1)
        target.write_text("".join(parts) + text[done:])


def build() -> None:
    """Strict: a link or an anchor that does not exist is an error."""
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=False
    )
    if built.returncode:
        sys.exit(built.returncode)


def refuse_foreign_parts() -> None:
    """The site must not need the internet."""
    for page in (SITE / "html").rglob("*.html"):
        if found := FETCHED.search(page.read_text()):
            sys.exit(f"{page.relative_to(ROOT)} fetches from elsewhere: {found[0]}")


if __name__ == "__main__":
    stage()
    build()
    refuse_foreign_parts()
    print(SITE / "html" / "index.html")
