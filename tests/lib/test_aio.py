import asyncio
import gc
import logging

import pytest

from weft.lib.aio import Tasks


async def test_a_failed_task_is_reported_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    tasks = Tasks()
    tasks.spawn(fail(), "my-task")
    await asyncio.sleep(0.01)
    assert "my-task" in caplog.text
    assert "broken" in caplog.text


async def test_close_ends_all_tasks_also_those_that_begin_others() -> None:
    tasks, ended = Tasks(), []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)
            if name == "first":
                tasks.spawn(wait("second"), "second")
                await asyncio.sleep(0)

    tasks.spawn(wait("first"), "first")
    await asyncio.sleep(0)
    await tasks.close()
    assert "first" in ended
    assert len(asyncio.all_tasks()) == 1


async def test_what_must_finish_does_so_without_its_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    tasks, done = Tasks(), asyncio.Event()

    async def work(fails: bool) -> str:
        await asyncio.sleep(0.01)
        done.set()
        if fails:
            raise ValueError("nobody asks")
        return "done"

    assert await tasks.finish(work(False), "work") == "done"
    with pytest.raises(ValueError, match="nobody asks"):
        await tasks.finish(work(True), "work")
    done.clear()
    caller = asyncio.ensure_future(tasks.finish(work(True), "work"))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait_for(done.wait(), 1)
    await asyncio.sleep(0)
    gc.collect()
    assert "never retrieved" not in caplog.text
