"""What `mkdocs` does to pages on their way to the site."""

from __future__ import annotations

import re

#: A link to a file of the repository outside of the documentation.
_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?:\.\./)+(?P<path>(?!docs/)[\w./-]+)(?:#[\w-]*)?\)")
_HOWTO = ("howto/", "reference/")


def on_page_markdown(markdown: str, page: object, **_kwargs: object) -> str:
    """Name such files instead of linking them: a reader of the site may not have the repository."""
    source = page.file.src_uri  # type: ignore[attr-defined]  # a page of mkdocs
    return markdown if source.startswith(_HOWTO) else _OUTSIDE.sub(_named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link["text"], link["path"].rstrip("/")
    return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}`)"
