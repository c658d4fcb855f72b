"""A real Chromium for the dashboard's tests: it tells what the page complained of and fetched."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.instance import wait_for

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--no-first-run", "--window-size=1366,860",
)  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost")


class Browser:
    """One window."""

    def __init__(self) -> None:
        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        for switch in SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        os.environ.setdefault("SE_AVOID_STATS", "true")
        self.driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        self.fetched: set[str] = set()
        self.complaints: list[str] = []

    def close(self) -> None:
        self.driver.quit()

    def open(self, url: str) -> None:
        self.driver.get(url)

    def go(self, place: str) -> None:
        """To a page, and its main part."""
        self.driver.execute_script("location.hash = arguments[0]", place)

    def run(self, script: str, *args: Any) -> Any:
        """The value of an asynchronous function's body."""
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{{script}}})(...arguments)"
            ".then((value) => done({value}), (error) => done({error: String(error)}))"
        )
        found = self.driver.execute_async_script(wrapped, *args)
        assert "error" not in found, found
        return found.get("value")

    def find(self, selector: str) -> WebElement:
        found = wait_for(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector), selector)
        first: WebElement = found[0]
        return first

    def click(self, text: str, selector: str = "button, a") -> None:
        """What says exactly this; tried again when the page is just drawn anew."""

        def clicked() -> bool:
            return bool(
                self.driver.execute_script(
                    "const hit = [...document.querySelectorAll(arguments[0])].find((each) =>"
                    " each.textContent.trim() === arguments[1] && !each.disabled);"
                    "hit?.click(); return Boolean(hit);",
                    *(selector, text),
                )
            )

        wait_for(clicked, f"something to click that says {text!r}: {self.text()[:1500]}")

    def text(self) -> str:
        return str(self.driver.execute_script("return document.body.innerText"))

    def shows(self, *words: str, seconds: float = 20.0) -> str:
        """Wait until the page has all of it."""
        seen = ""

        def there() -> bool:
            nonlocal seen
            seen = self.text()
            return all(word in seen for word in words)

        try:
            wait_for(there, "the page shows it", seconds)
        except AssertionError:
            raise AssertionError(f"not shown: {words}; the page: {seen[:3000]}") from None
        return seen

    @contextmanager
    def phone(self) -> Iterator[None]:
        """As on a phone, for a while."""
        size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def type(self, text: str) -> None:
        self.driver.switch_to.active_element.send_keys(text)

    def escape(self) -> None:
        self.type(Keys.ESCAPE)

    def listen(self) -> None:
        """Take in what was logged since."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.fetched.add(message["params"]["request"]["url"])
            if message["method"] == "Network.webSocketCreated":
                self.fetched.add(message["params"]["url"])
        self.complaints += [entry["message"] for entry in self.driver.get_log("browser")]

    def strangers(self) -> list[str]:
        """What was fetched from elsewhere than this machine."""
        self.listen()
        return [
            url
            for url in self.fetched
            if not url.startswith("data:") and urlsplit(url).hostname not in LOOPBACK
        ]
