"""`weft demo`: the sample applications on a fresh instance, and what the mesh does with them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import click
import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from rich.console import Console
from rich.live import Live
from rich.text import Text

from weft.api.errors import ApiError
from weft.api.manifests import Document
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_PORTS
from weft.cli import output
from weft.cli.apply import apply_files, read_documents
from weft.cli.connection import Connection, connect
from weft.cli.dashboard import login_link
from weft.cli.demo_traffic import Visit, Visitors
from weft.cli.traffic import traffic_of
from weft.cli.up import daemon_command
from weft.lib.aio import now
from weft.lib.instance import Settings, node_name_default, read_running, run_dir_of
from weft.node.images import ImageStore
from weft.telemetry.signals import TrafficDocument
from weft.views.signals import graph_lines
from weft.views.traffic import shares, split_lines, version_counts

EXAMPLES = Path(__file__).parents[3] / "examples"
START_SECONDS_MAX = 60.0
DEPLOY_SECONDS_MAX = 60.0
WATCHED = "weather-backend"
WATCHED_REQUESTS = 300
"""To that service, seen by the mesh; proxies report what passed every five seconds."""
WATCH_SECONDS_MAX = 30.0
AFTER_KILL_SECONDS = 4.0
REFRESH_SECONDS = 0.5
STEP_SECONDS = 5.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.02
SPLIT_WANTED = {"v1": 0.8, "v2": 0.2}
# With so many samples four standard deviations of a 20 % share are below ten points.
SPLIT_TOLERANCE = 0.1
HEADER_REQUESTS = 20
PLAIN_WIDTH = 120
"""Columns when the output is no terminal."""

WEATHER = (Visit("weather", "/weather/berlin", ""), Visit("weather", "/weather/lima", ""))
SHOP = (Visit("order", "/order/100", "shop.example"), Visit("user", "/user/2", "shop.example"))
COUNTER = (
    Visit("counter", "/counter", "counter.example"),
    Visit("sum", "/sum", "counter.example"),
)
PROGRAMS = {
    "weather-frontend:latest": "weather/frontend",
    "weather-backend:latest": "weather/backend",
    "user-service:1.0": "shop/user",
    "order-service:1.0": "shop/order",
    "counter:1.0": "counter/counter",
    "sum:1.0": "counter/sum",
}
REDIS_COMMAND = (
    'exec redis-server --bind ${HOST:-0.0.0.0} --port ${PORT:-6379} --save "" --appendonly no '
    "--protected-mode no"
)


BROKEN = "weather-backend-v2"
BROKEN_ENV = [{"name": "WEATHER_VERSION", "value": "v2"}, {"name": "WEATHER_FAULT", "value": "40"}]
"""What the faulty version is told: so many percent of its answers are errors, and late."""


@click.command(epilog="Example: weft demo --stay")
@click.option("--stay", is_flag=True, help="Leave everything running (also DEMO_STAY=1).")
@click.option("--broken", is_flag=True, help="Break one version of a service, leave everything "
              "running, and let you find out which.")  # fmt: skip
@click.option("--isolation", type=click.Choice(["auto", "netns", "host"]), default="auto")
def demo(stay: bool, broken: bool, isolation: str) -> None:
    """Run the sample applications and show what the mesh does. Ends with 0 when all held."""
    if not EXAMPLES.is_dir():
        output.fail("the examples are not here", "run the demo from a checkout: make demo")
    directory = tempfile.mkdtemp(prefix="weft-demo-")
    settings = Settings(
        data_dir=directory,
        run_dir=run_dir_of(directory),
        port=0,
        isolation=isolation,
        node_name=node_name_default(),
        trace_percent=100.0,
    )
    stay = stay or broken or os.environ.get("DEMO_STAY", "") not in ("", "0")
    try:
        held = asyncio.run(Demo(settings, stay, broken).run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        held = False
    sys.exit(0 if held else 1)


class Demo:
    """The scenes of the demo, in order; each appends what it checked."""

    def __init__(self, settings: Settings, stay: bool, broken: bool = False) -> None:
        self.settings = settings
        self.stay = stay
        self.broken = broken
        self.console = Console(
            highlight=False,
            no_color=not output.style().reset,
            width=None if sys.stdout.isatty() else PLAIN_WIDTH,
        )
        self.held: list[tuple[bool, str]] = []
        self.visits: tuple[Visit, ...] = (*WEATHER, *SHOP)
        self.base_url = ""
        self.process: subprocess.Popen[bytes] | None = None

    def say(self, text: str) -> None:
        self.console.print(text)

    def check(self, holds: bool, text: str) -> None:
        self.held.append((holds, text))
        self.say(f"  [green]✓[/] {text}" if holds else f"  [red]✗[/] {text}")

    async def run(self) -> bool:
        later, ended_well = self._prepare(), False
        # Ended by a signal it must not leave the started instance behind either.
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            self._spawn([str(EXAMPLES / "weather")])
            await self._until_running()
            async with connect(self.settings.data_dir) as connection:
                await (self._break if self.broken else self._show)(connection, later)
            ended_well = all(holds for holds, _ in self.held)
            if self.stay and ended_well:
                self._leave_visitors()
            self._farewell(ended_well)
        except (ApiError, ClientError, TimeoutError, OSError) as error:
            self.say(f"[red]✗[/] the demo could not go on: {error or type(error).__name__}")
            self._show_log()
        finally:
            if not (self.stay and ended_well):
                self._stop()
                shutil.rmtree(self.settings.data_dir, ignore_errors=True)
        return ended_well

    def _prepare(self) -> list[str]:
        """Define the images; decide whether Redis can take part. Gives what is deployed after
        the weather application."""
        images = ImageStore(Path(self.settings.data_dir))
        environment = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        for name, folder in PROGRAMS.items():
            images.add(name, EXAMPLES / folder, (sys.executable, "app.py"), environment)
        files = [str(EXAMPLES / "shop")]
        if shutil.which("redis-server", path=environment["PATH"]):
            command = ("sh", "-c", REDIS_COMMAND)
            images.add("redis:7", Path(self.settings.data_dir), command, environment)
            files.append(str(EXAMPLES / "counter"))
            self.visits += COUNTER
        else:
            self.say("[yellow]-[/] counter and sum are skipped: there is no redis-server here")
        return files

    def _spawn(self, files: list[str]) -> None:
        self.started = now()
        self.settings.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.settings.log_file, "ab") as log:
            self.process = subprocess.Popen(
                daemon_command("run", self.settings, *files),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    async def _until_running(self) -> None:
        assert self.process is not None
        while read_running(self.settings.data_dir) is None:
            if self.process.poll() is not None or now() - self.started > START_SECONDS_MAX:
                raise TimeoutError("weft did not start")
            await asyncio.sleep(POLL_SECONDS)

    def _stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS_MAX)

    async def _deploy(self, connection: Connection, later: Sequence[str]) -> None:
        running = read_running(self.settings.data_dir)
        assert running is not None
        self.say(f"[bold]weft[/] is up after {now() - self.started:.2f} s ({running.isolation})")
        self.base_url = await self._gateway(connection)
        await self._first_answer()
        await apply_files(connection.client, read_documents(later), "default", lambda _: None)
        await self._all_ready(connection)
        await self._all_answer()

    async def _show(self, connection: Connection, later: Sequence[str]) -> None:
        await self._deploy(connection, later)
        visitors = Visitors(self.base_url, self.visits)
        await visitors.start()
        try:
            await self._watch_traffic(connection, visitors)
            await self._header_route()
            await self._kill_a_backend(connection, visitors)
        finally:
            await visitors.stop()
        for failure in visitors.failures:
            self.say(f"    {failure}")

    async def _break(self, connection: Connection, later: Sequence[str]) -> None:
        """Something is wrong in the shop of weather: that is all the user is told."""
        await self._deploy(connection, later)
        await apply_files(connection.client, broken_deployment(), "default", lambda _: None)
        await self._all_ready(connection)

    def _leave_visitors(self) -> None:
        """Traffic for as long as the instance runs, by a process of its own."""
        visits = msgspec.json.encode(self.visits).decode()
        subprocess.Popen(
            [sys.executable, "-m", "weft.cli.demo_traffic", self.settings.data_dir,
             self.base_url, visits],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    async def _gateway(self, connection: Connection) -> str:
        async for _ in _tries(START_SECONDS_MAX):
            node = await connection.json("GET", f"/api/v1/nodes/{self.settings.node_name}")
            annotations = node["metadata"].get("annotations", {})
            ports = json.loads(annotations.get(ANNOTATION_NODE_GATEWAY_PORTS, "{}"))
            if "80" in ports:
                return f"http://{self.settings.gateway_address}:{ports['80']}"
        raise TimeoutError("no gateway port was bound")

    async def _first_answer(self) -> None:
        await self._until_ok(WEATHER[0])
        self.say(f"first 200 through the mesh after [bold]{now() - self.started:.2f} s[/]\n")

    async def _all_ready(self, connection: Connection) -> None:
        """A version without a ready pod would fail its share of the requests."""
        path = "/apis/apps/v1/namespaces/default/deployments"
        waiting: list[str] = []
        async for _ in _tries(DEPLOY_SECONDS_MAX):
            deployments = (await connection.json("GET", path))["items"]
            waiting = [
                deployment["metadata"]["name"]
                for deployment in deployments
                if deployment["status"].get("readyReplicas", 0) < deployment["spec"]["replicas"]
            ]
            if not waiting:
                return
        raise TimeoutError(f"not ready in {DEPLOY_SECONDS_MAX:.0f} s: {', '.join(waiting)}")

    async def _all_answer(self) -> None:
        for visit in self.visits:
            await self._until_ok(visit)
        self.check(True, f"all applications answer at {self.base_url}")

    async def _until_ok(self, visit: Visit) -> None:
        async with ClientSession(timeout=ClientTimeout(total=2)) as session:
            async for _ in _tries(DEPLOY_SECONDS_MAX):
                with contextlib.suppress(ClientError, TimeoutError):
                    headers = {"Host": visit.host} if visit.host else {}
                    url = self.base_url + visit.path
                    async with session.get(url, headers=headers) as answer:
                        if answer.status == 200:
                            return
        raise TimeoutError(f"{visit.path} did not answer 200 in {DEPLOY_SECONDS_MAX:.0f} s")

    async def _watch_traffic(self, connection: Connection, visitors: Visitors) -> None:
        self.say("\n[bold]Traffic[/] (who calls whom, as `weft graph` shows it)")
        # The first step also has what was asked before all applications answered.
        begun, counts = now() + STEP_SECONDS, dict[str, float]()
        with Live(console=self.console, auto_refresh=False, transient=False) as live:
            while (
                sum(counts.values()) < WATCHED_REQUESTS or now() - begun < STEP_SECONDS
            ) and now() - begun < WATCH_SECONDS_MAX:
                await asyncio.sleep(REFRESH_SECONDS)
                document = await traffic_of(connection, max(STEP_SECONDS, now() - begun))
                counts = version_counts(document, WATCHED)
                live.update(_traffic_view(document, shares(counts)), refresh=True)
        self.say("")
        found = shares(counts)
        worst = max((abs(found.get(v, 0.0) - w) for v, w in SPLIT_WANTED.items()), default=1.0)
        self.check(
            worst <= SPLIT_TOLERANCE,
            "the weather back end is split as its VirtualService says: "
            + ", ".join(f"{version} {share:.0%}" for version, share in found.items()),
        )
        self.check(visitors.failed == 0, f"{visitors.total} requests, {visitors.failed} failed")

    async def _header_route(self) -> None:
        versions = set()
        async with ClientSession(timeout=ClientTimeout(total=5)) as session:
            for _ in range(HEADER_REQUESTS):
                url = self.base_url + WEATHER[0].path
                async with session.get(url, headers={"x-user": "tester"}) as answer:
                    versions.add((await answer.json()).get("backend"))
        self.check(versions == {"v2"}, "requests with `x-user: tester` see only v2")

    async def _kill_a_backend(self, connection: Connection, visitors: Visitors) -> None:
        pods = await connection.json(
            "GET",
            "/api/v1/namespaces/default/pods?labelSelector=app%3Dweather-backend,version%3Dv1",
        )
        victim = pods["items"][0]
        name = victim["metadata"]["name"]
        status = await connection.json("GET", "/weft/v1/status")
        pid = next(p["pid"] for p in status["pods"] if p["name"] == name)
        failed_before, total_before = visitors.failed, visitors.total
        self.say(f"\n[bold]kill -9[/] of {name} (process {pid}) while traffic goes on")
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(AFTER_KILL_SECONDS)
        failed = visitors.failed - failed_before
        self.check(failed == 0, f"{visitors.total - total_before} requests since, {failed} failed")
        again = await connection.json("GET", f"/api/v1/namespaces/default/pods/{name}")
        restarts = again["status"]["containerStatuses"][0]["restartCount"]
        self.check(restarts == 1, f"{name} was started again ({restarts} restart)")

    def _farewell(self, held: bool) -> None:
        word = "[green]All held.[/]" if held else "[red]Not all held.[/]"
        self.say(f"\n{word}")
        if not self.stay:
            self.say("Everything is stopped again; DEMO_STAY=1 make demo leaves it running.")
            return
        directory = self.settings.data_dir
        if self.broken:
            self.say(
                "Visitors complain: forecasts are slow, and some fail. Which version of which\n"
                "service is to blame, and what does it say? docs/find-a-fault.md has two ways.\n"
            )
        self.say(f"""It stays up, with visitors. Go on with:
  {login_link(directory)}
    (the dashboard; the link logs in once, within a minute;
    weft dashboard --data-dir {directory} makes another)
  kubectl --kubeconfig {self.settings.kubeconfig} get pods,svc -o wide
  weft status --data-dir {directory}
  curl {self.base_url}/weather/berlin
  curl -H 'Host: shop.example' {self.base_url}/order/100
  weft down --data-dir {directory}""")

    def _show_log(self) -> None:
        with contextlib.suppress(OSError):
            self.say(f"--- {self.settings.log_file}")
            self.console.print(self.settings.log_file.read_text()[-4000:], markup=False)


def broken_deployment() -> list[Document]:
    """The weather back end's v2 with a fault."""
    found = []
    for document in read_documents([str(EXAMPLES / "weather")]):
        if document.value["metadata"]["name"] == BROKEN:
            container = document.value["spec"]["template"]["spec"]["containers"][0]
            container["env"] = BROKEN_ENV
            found.append(document)
    return found


async def _tries(seconds: float) -> AsyncIterator[None]:
    deadline = now() + seconds
    while now() < deadline:
        yield
        await asyncio.sleep(POLL_SECONDS)


def _traffic_view(document: TrafficDocument, found: dict[str, float]) -> Text:
    lines = [*graph_lines(document, output.style()), ""]
    lines += [f"{WATCHED} {line}" for line in split_lines(found, SPLIT_WANTED)]
    return Text.from_ansi("\n".join(f"  {line}" for line in lines))
