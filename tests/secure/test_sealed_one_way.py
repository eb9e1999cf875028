"""One sealed message to a node whose key is known."""

import pytest

from p2ptui.secure import Reason, SecureError, StaticKeys
from p2ptui.secure.one_way import open_once, seal_once

PSK = b"k" * 32
WRITER, READER, OTHER = (StaticKeys.generate() for _ in range(3))


@pytest.mark.parametrize("psk", [None, PSK])
def test_the_reader_has_what_was_written_and_by_whose_key(psk):
    text = seal_once(WRITER, READER.public, b"an offer", prologue=b"p", psk=psk)
    assert open_once(READER, text, prologue=b"p", psk=psk) == (b"an offer", WRITER.public)
    assert "an offer" not in text


def test_each_is_sealed_anew():
    assert len({seal_once(WRITER, READER.public, b"", prologue=b"") for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("keys", "changes", "reason"),
    [
        (OTHER, {}, Reason.ALTERED),
        (READER, {"prologue": b"q"}, Reason.ALTERED),
        (READER, {"psk": b"o" * 32}, Reason.ALTERED),
        (READER, {"psk": None}, Reason.UNKNOWN_PATTERN),
        (READER, {"accepts": ("X",)}, Reason.UNKNOWN_PATTERN),
    ],
)
def test_nobody_else_reads_it(keys, changes, reason):
    text = seal_once(WRITER, READER.public, b"an offer", prologue=b"p", psk=PSK)
    with pytest.raises(SecureError) as refused:
        open_once(keys, text, **{"prologue": b"p", "psk": PSK} | changes)
    assert refused.value.reason is reason


def test_no_altered_or_shortened_one_is_read():
    text = seal_once(WRITER, READER.public, b"an offer", prologue=b"p")
    for place in range(len(text)):
        other = "B" if text[place] != "B" else "C"
        for changed in (text[:place] + other + text[place + 1 :], text[:place]):
            with pytest.raises(SecureError):
                open_once(READER, changed, prologue=b"p")


@pytest.mark.parametrize("text", ["", "X", "X.", "XX.AAAA", "X.AAAA", "Xpsk1." + "A" * 300, "é"])
def test_whatever_comes_is_refused_and_nothing_else(text):
    with pytest.raises(SecureError):
        open_once(READER, text, prologue=b"", psk=PSK)
