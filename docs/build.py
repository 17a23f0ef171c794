"""Writes docs/_build: the API pages from the docstrings, and README.md and docs/*.md as pages beside them.

pdoc makes the API pages; its own Markdown converter is the one for the others.
"""

from __future__ import annotations

import pkgutil
import re
import warnings
from pathlib import Path

import markdown2
import pdoc

import fmi_mpi

DOCS = Path(__file__).resolve().parent
BUILD = DOCS / "_build"
STYLE = (
    "body{max-width:60em;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif}pre,code{background:#f4f4f4}"
    "pre{padding:.7em;overflow:auto}td,th{border:1px solid #ccc;padding:.2em .6em}table{border-collapse:collapse}"
)
EXTRAS = ["fenced-code-blocks", "tables", "header-ids", "cuddled-lists"]


def main() -> None:
    pdoc.render.configure(docformat="google", footer_text="fmi_mpi")
    warnings.simplefilter("ignore")  # of pdoc, about packages that list their modules, and names that MPI.py leaves out
    found = pkgutil.walk_packages(fmi_mpi.__path__, "fmi_mpi.")
    modules = [module.name for module in found if not module.name.endswith("__main__")]
    pdoc.pdoc("fmi_mpi", *modules, output_directory=BUILD / "api")
    pages = sorted(DOCS.glob("*.md"))
    links = [
        ("index.html", "README"),
        *((f"{page.stem}.html", page.stem) for page in pages),
        ("api/fmi_mpi.html", "API"),
    ]
    bar = " | ".join(f'<a href="{target}">{title}</a>' for target, title in links)
    for page, name in ((DOCS.parent / "README.md", "index"), *((page, page.stem) for page in pages)):
        body = markdown2.markdown(page.read_text(encoding="utf-8"), extras=EXTRAS)
        body = re.sub(r'href="(?:docs/)?([\w-]+)\.md', r'href="\1.html', body)
        html = f"<!doctype html><meta charset=utf-8><title>{name}</title><style>{STYLE}</style><nav>{bar}</nav>{body}"
        (BUILD / f"{name}.html").write_text(html, encoding="utf-8")
    print(f"{len(pages) + 1} pages and the API in {BUILD.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
