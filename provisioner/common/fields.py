"""Input fields that several apps use, in addition to those of ``parsing``."""

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers


class AnyCase(serializers.ChoiceField):
    """One of a fixed set of words, in any case. The value is the item of the set, for example an
    enum member.
    """

    def __init__(self, words: Iterable[Any], **kwargs: Any) -> None:
        self.words = {str(word).lower(): word for word in words}
        rule = f"must be one of {', '.join(map(str, self.words.values()))}"
        choices = list(self.words.values())
        super().__init__(choices, error_messages={"invalid_choice": rule}, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        word = str(data).strip().lower()
        if word not in self.words:
            self.fail("invalid_choice", input=data)
        return self.words[word]
