"""The reference of options in another language: each text looked up in a file beside the page.

Only `python -m p2ptui.config.render` needs it, in a checkout; no node does. A text is found by what
it says in English, so that a changed one misses its translation instead of keeping a stale one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

FILE_NAME = "options.toml"
"""Of the texts, in the folder of the page: English = translation."""

_GAP = re.compile(r"\\{\\}")


class MissingTranslationError(ValueError):
    """A text of the reference has no translation; the message names the option."""


class Translation:
    """Texts in another language.

    Args:
        texts: Translations by English text. `{}` in both stands for anything, a number or a further
            text that may have a translation of its own.
        name: Of their file, for complaints.
    """

    def __init__(self, texts: Mapping[str, str], name: str = FILE_NAME) -> None:
        self._texts = texts
        self._name = name
        self._forms = {
            re.compile(_GAP.sub("(.+)", re.escape(english))): english
            for english in texts
            if "{}" in english
        }
        self.used: set[str] = set()
        """The English texts that were looked up and found."""

    def __call__(self, text: str, where: str) -> str:
        """A text in this language.

        Args:
            text: In English.
            where: The option or section that says it.

        Raises:
            MissingTranslationError: There is none.
        """
        if text in self._texts:
            self.used.add(text)
            return self._texts[text]
        for form, english in self._forms.items():
            if found := form.fullmatch(text):
                self.used.add(english)
                return self._texts[english].format(*map(self._known, found.groups()))
        raise MissingTranslationError(f"{where}: {self._name} has no translation of {text!r}")

    def _known(self, part: str) -> str:
        if part in self._texts:
            self.used.add(part)
        return self._texts.get(part, part)


def translation_beside(page: Path) -> Translation | None:
    """The language of a page, by the file of texts in its folder; None for English."""
    import tomli

    path = page.with_name(FILE_NAME)
    if not path.is_file():
        return None
    return Translation(tomli.loads(path.read_text("utf-8")), str(path))
