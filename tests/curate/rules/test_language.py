"""Languages are told where there is enough text, and left undecided where there is not."""

import pytest

from curate.rules.language import UNDECIDED, detect
from schemas.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do I remove a red wine stain from a cotton shirt?", "en"),
        ("Wie lange muss ich Spaghetti kochen, damit sie bissfest sind?", "de"),
        ("¿Cuál es la capital de Perú y cuántos habitantes tiene?", "es"),
        ("水的沸点是多少摄氏度？", "zh"),
        ("東京の天気はどうですか", "ja"),
        ("오늘 날씨가 어때요", "ko"),
        ("Какая столица Франции и сколько там людей?", "ru"),
        ("hi", UNDECIDED),
        ("", UNDECIDED),
        ("12 + 30 = ?", UNDECIDED),
    ],
)
def test_a_language_is_told_or_left_open(text, language):
    assert detect([text], ("en", "de", "es", "ru")) == [language]


def test_texts_keep_their_order():
    assert detect(["ok", "Where is the nearest railway station, please?"], ("en",)) == [UNDECIDED, "en"]


def test_no_texts_give_no_languages():
    assert detect([], ("en",)) == []


def test_a_code_that_is_no_language_is_refused():
    with pytest.raises(ConfigError, match="no language has the code english"):
        detect(["Where is the station?"], ("english",))
