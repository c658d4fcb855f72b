import pytest

from weft.lib import join_token

CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
WORD = "abcdef.0123456789abcdef"


def test_a_token_knows_its_server() -> None:
    found = join_token.parse(join_token.render(CA, WORD) + "\n")
    assert found.word == WORD
    assert found.trusts(CA)
    assert found.trusts(CA + CA.replace("A", "B")), "later roots may be added"
    assert not found.trusts(CA.replace("A", "B"))


@pytest.mark.parametrize("text", ["", WORD, "K10abc::" + WORD, join_token.render(CA, "short.x")])
def test_what_is_no_token_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="looks like") as caught:
        join_token.parse(text)
    assert not text or text not in str(caught.value)
