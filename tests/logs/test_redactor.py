"""Secrets: masked however they are spelled, wherever a text is cut, without masking ordinary words."""

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.child.python.channel import shortened
from agent_tui.logs.redactor import MASK, Redactor, matching, spellings
from agent_tui.logs.sanitize import MAX_LINE

SECRET = "s3cr3t/with+all\"kinds'of\\signs=ü"

SPELLED: dict[str, Callable[[str], str]] = {
    "plain": str,
    "repr": lambda secret: repr(secret)[1:-1],
    "repr of bytes": lambda secret: repr(secret.encode()),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON, not ASCII": lambda secret: json.dumps(secret, ensure_ascii=False),
    "URL, all": lambda secret: quote(secret, safe=""),
    "URL, path": quote,
    "URL, form": quote_plus,
    "URL, lower case": lambda secret: re.sub("%..", lambda match: match[0].lower(), quote(secret, safe="")),
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64, URL": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


def redactor(*secrets: str) -> Redactor:
    made = Redactor()
    made.mask(secrets)
    return made


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("secret", ["APIsecretAPIsecret1234", "hunter2hunter2", "a/b+c=d&e?f%g h!"])
def test_every_spelling_is_masked(spelled: str, secret: str) -> None:
    form = SPELLED[spelled](secret)
    shown = redactor(secret).clean(f"x={form};")
    assert MASK in shown
    assert secret[2:-3] not in shown
    assert form[3:-4] not in shown


@pytest.mark.parametrize("key", ["", "k", "ke", "key", "devkey:"])
@pytest.mark.parametrize("after", ["", "!", "!!"])
def test_a_secret_within_longer_base64_is_masked_wherever_it_begins(key: str, after: str) -> None:
    data = f"{key}{SECRET}{after}".encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = redactor(SECRET).clean(f"Authorization: Basic {encode(data).decode()}")
        assert MASK in shown
        left = shown.partition("Basic ")[2]
        # what is left belongs to the neighbors, and digits that also hold bits of them
        assert len(left.replace(MASK, "").rstrip("=")) <= -(-len(key) * 4 // 3) + -(-len(after) * 4 // 3) + 2


@given(st.text(min_size=12, max_size=60), st.binary(max_size=7), st.binary(max_size=7))
def test_no_secret_survives_in_any_spelling(secret: str, before: bytes, after: bytes) -> None:
    clean = redactor(secret).clean
    if clean(secret) != MASK:
        return  # nothing but white space and invisible characters, or around them
    data = before + secret.encode() + after
    for text in (json.dumps(secret), repr(secret), quote(secret, safe=""), data.hex()):
        assert clean(text) != text
    assert MASK in clean(base64.b64encode(data).decode())


@pytest.mark.parametrize("at", [MAX_LINE - 8, MAX_LINE, 4 * MAX_LINE - 8, 4 * MAX_LINE + 8, 5 * MAX_LINE])
@pytest.mark.parametrize("filler", ["x", "\x1b[1m", "x\x1b[31m"])
def test_a_secret_across_a_cut_is_masked(at: int, filler: str) -> None:
    secret = "0123456789abcdef"
    text = (filler * at)[: at - at % len(filler)] + secret + "y" * 5 * MAX_LINE
    shown = redactor(secret).clean(text)
    assert len(shown) < MAX_LINE + 50
    assert not any(secret[:size] in shown for size in range(3, len(secret)))


@pytest.mark.parametrize("at", range(36))
def test_a_secret_that_a_child_has_cut_is_masked_on_both_sides(at: int) -> None:
    secret = "0123456789abcdefghij"
    for limit, text in (
        (4_000, "x" * (3_000 - at) + secret + "y" * 9_000),  # its first part
        (4_000, "x" * 9_000 + secret + "y" * (1_000 - at)),  # its second part
    ):
        cut = shortened(text, limit)
        assert "characters…]" in cut
        shown = redactor(secret).clean(cut)
        parts = {secret[first:last] for first in range(17) for last in range(first + 4, 21)}
        assert not any(part in shown for part in parts)
    assert redactor(secret).clean("abc […7 characters…] def") == "abc […7 characters…] def"


def test_each_line_of_a_private_key_is_masked_but_not_what_all_keys_begin_with() -> None:
    lines = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    clean = redactor(key).clean
    assert clean(lines[1]) == MASK
    assert clean(lines[0][::-1]) != MASK
    assert clean(key) == MASK
    assert MASK in clean(json.dumps(key))
    assert clean("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("secret", "masked"),
    [
        ("secret", False),
        ("changeme", False),
        ("12345678901", False),
        ("pass1234", True),
        ("correcthorse", True),
        ("   \t padded-secret-1 \n", True),
        ("", False),
    ],
)
def test_short_words_are_no_secrets(secret: str, masked: bool) -> None:
    shown = redactor(secret).clean(f"<{secret.strip()}>")
    assert (MASK in shown) is masked


def test_the_longer_of_two_secrets_with_one_beginning_is_masked_as_a_whole() -> None:
    made = redactor("abcdefgh1234", "abcdefgh1234-and-more")
    assert made.clean("abcdefgh1234-and-more abcdefgh1234-and abcdefgh1234") == f"{MASK} {MASK}-and {MASK}"


def test_a_very_long_secret_is_masked_in_pieces() -> None:
    long = "".join(f"{number:08x}" for number in range(3_000))
    shown = redactor(long).clean(f"key {long} end")
    assert shown.replace(MASK, "") == "key  end"


@given(st.lists(st.text(alphabet="ab.*(", min_size=1, max_size=6), min_size=1, max_size=12), st.text("ab.*("))
def test_the_tree_matches_what_a_flat_alternation_matches(words: list[str], text: str) -> None:
    flat = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
    assert matching(words).sub("#", text) == flat.sub("#", text)


def test_a_secret_of_plain_letters_has_few_spellings() -> None:
    assert len(spellings("abcdefghijkl1234")) < 12
