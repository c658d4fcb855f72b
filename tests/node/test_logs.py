"""Reading container logs: what kubectl logs shows."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.lib.timefmt import parse_rfc3339
from weft.node import logs
from weft.node.logs import LogOptions, latest_log, read_log


def cri(text: str, tag: str = "F", second: int = 0) -> str:
    return f"2026-11-21T00:00:{second:02d}.123456789Z stdout {tag} {text}\n"


async def read(path: Path, options: LogOptions = LogOptions()) -> str:  # noqa: B008 - frozen
    return b"".join([chunk async for chunk in read_log(path, options)]).decode()


async def test_text_without_stamps_with_stamps_and_joined(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(cri("one") + cri("long ", "P", 1) + cri("line", "F", 2) + cri("", "F", 3))
    assert await read(path) == "one\nlong line\n\n"
    stamped = await read(path, LogOptions(timestamps=True))
    assert stamped == (
        "2026-11-21T00:00:00.123456789Z one\n"
        "2026-11-21T00:00:01.123456789Z long line\n"
        "2026-11-21T00:00:03.123456789Z \n"
    )


async def test_tail_and_since(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("".join(cri(f"line {n}", second=n) for n in range(10)))
    assert await read(path, LogOptions(tail_lines=2)) == "line 8\nline 9\n"
    assert await read(path, LogOptions(tail_lines=0)) == ""
    assert await read(path, LogOptions(tail_lines=99)) == await read(path)
    since = parse_rfc3339("2026-11-21T00:00:08Z")
    assert await read(path, LogOptions(since=since)) == "line 8\nline 9\n"


async def test_rotated_files_come_first(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    (tmp_path / "0.log.2").write_text(cri("a") + cri("b"))
    (tmp_path / "0.log.1").write_text(cri("c"))
    path.write_text(cri("d"))
    assert await read(path) == "a\nb\nc\nd\n"
    assert await read(path, LogOptions(tail_lines=3)) == "b\nc\nd\n"


async def test_follow_goes_on_across_rotation_until_the_container_ends(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(cri("one"))
    running = True
    seen: list[bytes] = []

    async def follow() -> None:
        async for chunk in read_log(path, LogOptions(follow=True), lambda: running):
            seen.append(chunk)

    task = asyncio.ensure_future(follow())
    await asyncio.sleep(0.05)
    with path.open("a") as file:
        file.write(cri("two")[:-3])
        file.flush()
        await asyncio.sleep(0.15)
        assert b"".join(seen) == b"one\n", "half a line is not shown"
        file.write(cri("two")[-3:])
    path.rename(tmp_path / "0.log.1")
    path.write_text(cri("three"))
    await asyncio.sleep(0.3)
    running = False
    await asyncio.wait_for(task, 5)
    assert b"".join(seen) == b"one\ntwo\nthree\n"


async def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert await read(tmp_path / "0.log") == ""
    assert latest_log(tmp_path, "web") is None


def test_the_newest_instance_by_number(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    for name in ("9.log", "10.log", "10.log.1"):
        (tmp_path / "web" / name).touch()
    assert latest_log(tmp_path, "web") == tmp_path / "web" / "10.log"
    assert latest_log(tmp_path, "web", previous=True) == tmp_path / "web" / "9.log"


LINES = st.lists(
    st.tuples(st.text(alphabet="ab \t", max_size=12), st.sampled_from("FFFP")), max_size=25
)


@examples(60)
@given(LINES, st.integers(0, 30), st.integers(1, 64))
def test_tail_agrees_with_reading_everything(
    lines: list[tuple[str, str]], count: int, block: int
) -> None:
    whole = [(text, tag) for text, tag in lines]
    text = "".join(cri(*line) for line in whole)
    shown: list[str] = []
    current = ""
    for body, tag in whole:
        current += body
        if tag == "F":
            shown.append(current)
            current = ""
    before = logs.TAIL_BLOCK_BYTES
    try:
        logs.TAIL_BLOCK_BYTES = block
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "0.log")
            path.write_text(text)
            got = asyncio.run(read(path, LogOptions(tail_lines=count)))
    finally:
        logs.TAIL_BLOCK_BYTES = before
    expected = "".join(f"{line}\n" for line in (shown[-count:] if count else []))
    assert got == expected + (current if count else "") or got == expected
