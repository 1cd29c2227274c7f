"""Write every file of the repository that derives from the declaration of the keys.

``python -m parallelcfg.config.generate [FOLDER]`` in the root. A test fails when a file has drifted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from parallelcfg.config.declaration import declared_text

__all__ = ["generated", "main", "schema_text"]

_DECLARED = Path("parallelcfg", "config", "declared.py")
_BEGIN, _END = "<!-- keys:begin -->", "<!-- keys:end -->"


def generated(root: Path) -> dict[Path, str]:
    """What the derived files below a folder should hold.

    Parameters
    ----------
    root : Path
        The repository's root. Documents there have the table of keys between two markers.
    """
    # Not before: the tables of keys stand on the module that may have to be written first.
    from parallelcfg.config.schema import environment_table, example, markdown_table

    texts = {
        root / _DECLARED: declared_text(),
        root / "schemas" / "parallel.schema.json": schema_text(),
        root / "schemas" / "environment.json": _json(environment_table()),
        root / "parallel.toml.example": example("./schemas/parallel.schema.json"),
    }
    for document in (root / "README.md", root / "docs" / "configuration.md"):
        text = document.read_text(encoding="utf-8") if document.exists() else ""
        if _BEGIN in text:
            before, _, rest = text.partition(_BEGIN)
            _, _, after = rest.partition(_END)
            texts[document] = f"{before}{_BEGIN}\n{markdown_table()}\n{_END}{after}"
    return texts


def schema_text() -> str:
    """The JSON Schema as the text of a file."""
    from parallelcfg.config.schema import file_schema

    return _json(file_schema())


def _json(data: object) -> str:
    return json.dumps(data, indent=2) + "\n"


def main() -> None:
    """Write the files below the folder that the command line names, or the working directory."""
    root = Path(*sys.argv[1:2])
    (root / _DECLARED).write_text(declared_text(), encoding="utf-8")
    for file, text in generated(root).items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
