#!/usr/bin/env python3
"""Writes book.txt and reference.txt from the copies of The Rust Programming Language and The Rust
Reference that come with Rust's toolchain.

    rustup component add rust-docs && ./convert.py
    ./convert.py path/to/share/doc/rust/html

Takes the paragraphs, headings and list items of the chapters in the book's order, without code
blocks, one a line and in ASCII, until the next chapter would make the text longer than a limit.
"""

import html.parser
import pathlib
import re
import subprocess
import sys

BLOCKS = {"p", "li", "h1", "h2", "h3", "h4"}
HIDDEN = {"pre", "button"}
PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2026": "..."}
    | {"\u2013": "-", "\u2014": "--", "\u00a0": " "}
)


class Blocks(html.parser.HTMLParser):
    """Collects the text of the blocks of a page's main part."""

    def __init__(self):
        super().__init__()
        self.main = False
        self.code = 0
        self.text = None
        self.blocks = []

    def handle_starttag(self, tag, attributes):
        self.main |= tag == "main"
        self.code += tag in HIDDEN
        if self.main and tag in BLOCKS:
            self.end()
            self.text = ""

    def handle_endtag(self, tag):
        self.code -= tag in HIDDEN
        if tag in BLOCKS or tag == "main":
            self.end()
        self.main &= tag != "main"

    def handle_data(self, data):
        if self.text is not None and not self.code:
            self.text += data

    def end(self):
        if self.text is not None:
            line = " ".join(self.text.translate(PLAIN).split())
            self.blocks += [line] if line and line.isascii() else []
        self.text = None


def source():
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1])
    root = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, check=True)
    return pathlib.Path(root.stdout.decode().strip()) / "share/doc/rust/html"


def write(name, book, first, limit):
    table = (book / "toc.html").read_text()
    chapters = list(dict.fromkeys(re.findall(r'href="([^"#]*\.html)"', table)))
    text = ""
    for chapter in chapters[chapters.index(first) :]:
        page = Blocks()
        page.feed((book / chapter).read_text())
        lines = "".join(line + "\n" for line in page.blocks) + "\n"
        if len(text) + len(lines) > limit:
            break
        text += lines
    (pathlib.Path(__file__).parent / name).write_text(text)


def main():
    write("book.txt", source() / "book", "ch00-00-introduction.html", 300_000)
    write("reference.txt", source() / "reference", "items.html", 60_000)


if __name__ == "__main__":
    main()
