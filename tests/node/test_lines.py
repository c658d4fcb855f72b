"""What a container prints is in its log, whole and in order, however it arrives."""

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.node.logwriter.lines import PARTIAL_LINE_BYTES, Lines

STAMP = b"2026-01-02T03:04:05.000000006Z"


def restored(log: bytes) -> bytes:
    """What a reader of the format makes of it: P lines are continued."""
    text = b""
    for row in log.splitlines(keepends=True):
        stamp, stream, tag, content = row.split(b" ", 3)
        assert (stamp, stream) == (STAMP, b"stdout")
        text += content if tag == b"F" else content.removesuffix(b"\n")
    return text


def test_lines_are_stamped() -> None:
    lines = Lines("stdout")
    assert lines.feed(b"one\ntwo\nthr", STAMP) == (
        STAMP + b" stdout F one\n" + STAMP + b" stdout F two\n"
    )
    assert lines.feed(b"ee\n\n", STAMP) == (STAMP + b" stdout F three\n" + STAMP + b" stdout F \n")
    assert lines.end(STAMP) == b""
    assert lines.feed(b"prompt> ", STAMP) == b""
    assert lines.end(STAMP) == STAMP + b" stdout F prompt> \n"


def test_long_lines_are_written_in_parts() -> None:
    lines = Lines("stdout")
    log = lines.feed(b"x" * (2 * PARTIAL_LINE_BYTES + 5), STAMP) + lines.feed(b"y\n", STAMP)
    assert [row.split(b" ", 3)[2] for row in log.splitlines()] == [b"P", b"P", b"F"]
    assert restored(log) == b"x" * (2 * PARTIAL_LINE_BYTES + 5) + b"y\n"


@examples(60)
@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\r", b"").replace(b"\x0b", b""))))
def test_nothing_is_lost_or_added(chunks: list[bytes]) -> None:
    lines = Lines("stdout")
    log = b"".join(lines.feed(chunk, STAMP) for chunk in chunks) + lines.end(STAMP)
    printed = b"".join(chunks)
    expected = printed if not printed or printed.endswith(b"\n") else printed + b"\n"
    assert restored(log) == expected
