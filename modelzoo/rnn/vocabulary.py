"""The characters that a network knows, and their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Vocabulary"]


class Vocabulary:
    """Characters by number.

    Args:
        characters: single characters, each once; the place of each is its number.

    Raises:
        InputError: something that is no single character, or a character twice.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = tuple(characters)
        wrong = [item for item in self.characters if not isinstance(item, str) or len(item) != 1]
        if wrong or not self.characters:
            raise InputError(
                "A vocabulary is of single characters.", received=repr(wrong[0])[:80] if wrong else "nothing"
            )
        self._number = {character: number for number, character in enumerate(self.characters)}
        if len(self._number) != len(self.characters):
            twice = next(one for one in self.characters if self.characters.count(one) > 1)
            raise InputError("A character is in the vocabulary twice.", received=repr(twice))

    def __len__(self) -> int:
        return len(self.characters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.characters == self.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """The characters of a text, in the order of their code points."""
        return cls(sorted(set(text)))

    @classmethod
    def read(cls, path: str | Path) -> Vocabulary:
        """Read a JSON file {character: number}, the numbers 0, 1, ... each once.

        Raises:
            InputError: it cannot be read, or is of another form.
        """
        try:
            raw = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError("A vocabulary cannot be read.", received=f"{path}: {error}") from error
        numbers = sorted(raw.values(), key=str) if isinstance(raw, dict) else []
        if not numbers or any(type(n) is not int for n in numbers) or sorted(numbers) != list(range(len(numbers))):
            raise InputError(
                "A vocabulary gives each character a number, 0, 1, 2 and so on.",
                received=str(path),
                hint='{"a": 0, "b": 1}',
            )
        return cls(sorted(raw, key=lambda character: raw[character]))

    def encode(self, text: str) -> np.ndarray:
        """(len(text),) int32.

        Raises:
            InputError: characters that the vocabulary does not have.
        """
        import numpy as np

        unknown = sorted(set(text) - self._number.keys())
        if unknown:
            raise InputError(
                f"{len(unknown)} characters of the text are not in the vocabulary.",
                received=" ".join(repr(one) for one in unknown[:20]),
                hint="replace them; Vocabulary.filter(text) leaves them out",
            )
        return np.fromiter((self._number[character] for character in text), np.int32, len(text))

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of these numbers."""
        return "".join(self.characters[number] for number in numbers)

    def filter(self, text: str) -> str:
        """The text without the characters that are not in the vocabulary."""
        return "".join(character for character in text if character in self._number)
