"""`weft dashboard`: the mesh in a browser."""

import http.client
import json
import webbrowser

import click

from weft.cli import options, output
from weft.lib.instance import Settings, data_dir_of, read_running, run_dir_of
from weft.runtime.kubeconfig import KubeconfigError
from weft.runtime.kubeconfig import read as read_kubeconfig

ADDRESS = "127.0.0.1"
ANSWER_SECONDS_MAX = 10.0
CODE = "/session/code"
EXAMPLES = """\b
Examples:
  weft dashboard               open it, logged in
  weft dashboard --print       only print the link; it logs in once, within a minute
  ssh -L 6444:127.0.0.1:6444 HOST    and open the link that HOST printed
"""


@click.command(epilog=EXAMPLES)
@click.option("--print", "only_print", is_flag=True, help="Print the link; open no browser.")
@options.data_dir
def dashboard(only_print: bool, data_dir: str | None) -> None:
    """Open the dashboard in a browser on this machine, logged in as who the kubeconfig says.

    The link logs in once, within a minute. Later, log in with a token, for example from `kubectl
    create token`: the dashboard shows and does what that token may.
    """
    link = login_link(data_dir_of(data_dir))
    print(link)
    if not only_print and not webbrowser.open(link):
        output.note("no browser could be opened; open the link yourself, within a minute")


def login_link(directory: str) -> str:
    """A link that logs in as who the kubeconfig of this instance says; ends the command when there
    is none to be had."""
    running = read_running(directory)
    if running is None:
        output.fail(f"weft does not run on {directory}", "start it with `weft up`")
    if not running.dashboard_port:
        output.fail("this instance has no dashboard", "start it again with this version of weft")
    settings = Settings(data_dir=directory, run_dir=run_dir_of(directory))
    url = f"http://{ADDRESS}:{running.dashboard_port}/"
    try:
        token = read_kubeconfig(settings.kubeconfig).token
        return f"{url}#/login?code={_code(running.dashboard_port, token)}"
    except (KubeconfigError, OSError, http.client.HTTPException, ValueError) as error:
        output.fail(f"no link that logs in could be had: {error}", f"open {url} and give a token")


def _code(port: int, token: str) -> str:
    """OSError, ValueError."""
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=ANSWER_SECONDS_MAX)
    try:
        connection.request("POST", CODE, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(body.get("message", f"status {answer.status}"))
    return str(body["code"])
