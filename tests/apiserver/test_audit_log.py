"""The audit log of a real server: what is written, where, and how much of it is kept."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.apiserver.support import START, config_map
from weft.apiserver.access import AUTHENTICATED, MASTERS, User
from weft.apiserver.app import ApiServer, Settings
from weft.apiserver.audit import Trail, Verdict, parse_policy
from weft.apiserver.audit_log import AuditLog, AuditSettings
from weft.store.memory import MemoryStore

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/livez"]},
        {"level": "RequestResponse", "resources": [{"group": ""}]},
        {"level": "Metadata"},
    ],
}


def lines(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_what_a_server_logs(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.log"
    tokens = {
        "admin": User("admin", (MASTERS, AUTHENTICATED)), "guest": User("guest", (AUTHENTICATED,)),
    }  # fmt: skip
    store = MemoryStore()
    settings = Settings(tokens=tokens, audit=AuditSettings(parse_policy(POLICY), path))
    server = ApiServer(store, settings)
    await server.start("127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.port}"
    maps = "/api/v1/namespaces/default/configmaps"
    try:
        async with aiohttp.ClientSession(url) as session:

            async def ask(method: str, path: str, token: str = "admin", **how: Any) -> Any:
                headers = {"Authorization": f"Bearer {token}", **how.pop("headers", {})}
                async with session.request(method, path, headers=headers, **how) as answer:
                    await answer.read()
                    return answer

            await ask("GET", "/livez")
            made = await ask("POST", maps, json=config_map("seen", a="1"))
            await ask("GET", maps, "guest")
            await ask("GET", maps, "wrong")
            await ask("GET", "/version", headers={"Audit-Id": "mine"})
            as_bob = {"Impersonate-User": "bob"}
            await ask("GET", "/api/v1/nodes", headers=as_bob)
            await ask("GET", "/api/v1/nodes", "guest", headers=as_bob)
            await ask("DELETE", "/version")
        status = await raw(
            server.port,
            b"POST " + maps.encode() + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n"
            b"User-Agent: \xff\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
            b'{"metadata": {"name": "sly"} }',
        )
        assert status == 201
    finally:
        await server.close()
        await store.close()
    found = lines(path)
    assert [(e["verb"], e["responseStatus"]["code"]) for e in found] == [
        ("create", 201), ("list", 403), ("list", 401), ("get", 200), ("list", 403), ("list", 403),
        ("delete", 405), ("create", 201),
    ]  # fmt: skip
    create, refused, unknown, version, as_other, may_not, _, sly = found
    assert create["requestObject"]["data"] == {"a": "1"}
    assert create["responseObject"]["metadata"]["uid"]
    assert create["auditID"] == made.headers["Audit-Id"]
    assert create["objectRef"]["resource"] == "configmaps"
    assert refused["user"]["username"] == "guest"
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert 'User "guest" cannot list' in refused["responseStatus"]["message"]
    assert unknown["user"] == {}
    assert version["auditID"] == "mine"
    assert as_other["user"]["username"] == "admin"
    assert as_other["impersonatedUser"]["username"] == "bob"
    assert may_not["user"]["username"] == "guest"
    assert sly["requestObject"]["metadata"]["name"] == "sly"
    assert path.stat().st_mode & 0o777 == 0o600


async def raw(port: int, request: bytes) -> int:
    """The code that answers bytes which no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_files_are_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    policy = parse_policy(POLICY)
    log = AuditLog(AuditSettings(policy, path, file_bytes_max=2000, backups=2), lambda: START)
    log.start()
    verdict = Verdict("Metadata")
    for number in range(60):
        trail = Trail(str(number), START, "/x", "GET", "", "", verdict=verdict)
        log.tell(trail, "ResponseComplete", 200)
    await log.close()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["audit.log", "audit.log.1", "audit.log.2"]
    kept = [
        e["auditID"] for name in reversed(names) for e in lines(tmp_path / name)
    ]  # oldest first
    assert kept == [str(n) for n in range(60 - len(kept), 60)]
    assert len(kept) < 60
    for name in names:
        assert (tmp_path / name).stat().st_size < 2500
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


async def test_a_disk_that_is_full_for_a_while_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(AuditSettings(parse_policy(POLICY), path), lambda: START)
    log.start()
    path.unlink()
    path.mkdir()  # the file cannot be opened again
    log._close_file()
    trail = Trail("a", START, "/x", "GET", "", "", verdict=Verdict("Metadata"))
    log.tell(trail, "ResponseComplete", 200)
    await log._flush()
    path.rmdir()
    await log.close()
    assert [e["auditID"] for e in lines(path)] == ["a"]


async def test_a_disk_that_takes_half_a_line_gets_the_other_half_later(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(AuditSettings(parse_policy(POLICY), path), lambda: START)
    log.start()
    for number in range(3):
        trail = Trail(str(number), START, "/x", "GET", "", "", verdict=Verdict("Metadata"))
        log.tell(trail, "ResponseComplete", 200)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    try:
        await log._flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == 400
    await log.close()
    assert [event["auditID"] for event in lines(path)] == ["0", "1", "2"]
