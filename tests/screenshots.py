"""A picture of every page of the app, light and dark: python -m tests.screenshots RUNS OUT [light|dark]."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.cli.app import command

ROOT = Path(__file__).resolve().parent.parent


def _pages() -> tuple[str, ...]:
    """The pages' addresses, the first one's being the root; read, since importing the app's entry draws it."""
    tree = ast.parse((ROOT / "apps" / "main.py").read_text(encoding="utf-8"))
    value = next(
        n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "PAGES"
    )
    return ("", *(address for *_, address in ast.literal_eval(value)[1:]))


PAGES = _pages()
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1600",
)


def chromium() -> tuple[str, str] | None:
    """The browser and its driver, where this machine has both."""
    found = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    return (found[0], found[1]) if found[0] and found[1] else None


@contextlib.contextmanager
def serve(runs: Path, *, allow_run: bool = False) -> Iterator[tuple[str, int]]:
    """Start the app on a free port as `workbench app` does; gives its address and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "WORKBENCH_RUNS": str(runs), "PYTHONPATH": str(ROOT)}
    environment["WORKBENCH_ALLOW_RUN"] = str(int(allow_run))
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command(ROOT / "apps" / "main.py", port), env=environment, cwd=ROOT, stdout=log, stderr=log
        )
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()
            server.wait(20)


def _wait_until_up(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"the app ended at once with exit code {server.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing answers at {address}")


@contextlib.contextmanager
def browser(theme: str = "light") -> Iterator[Any]:
    """A headless Chromium under selenium."""
    from selenium import webdriver

    found = chromium()
    if found is None:
        raise RuntimeError("this needs chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for flag in (*FLAGS, *(["--force-dark-mode"] if theme == "dark" else [])):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
    try:
        yield driver
    finally:
        driver.quit()


def settle(driver: Any, seconds: float = 90) -> None:
    """Wait until the page's script has run and its charts are drawn."""
    done = (
        "const app = document.querySelector('[data-testid=stApp]');"
        "return app?.dataset.testScriptState === 'notRunning'"
        " && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')"
        " && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(c => c.querySelector('svg, canvas'))"
    )
    end = time.monotonic() + seconds
    quiet = 0
    while quiet < 3 and time.monotonic() < end:
        quiet = quiet + 1 if driver.execute_script(done) else 0
        time.sleep(0.15)


def picture(driver: Any, path: Path) -> None:
    """A picture of the page that is open, as tall as the page is."""
    driver.set_window_size(1400, 900)
    settle(driver)
    block = "document.querySelector('[data-testid=stMainBlockContainer]')"
    tall = driver.execute_script(f"return {block} ? {block}.scrollHeight : 800")
    driver.set_window_size(1400, max(900, tall + 160))
    settle(driver)
    driver.save_screenshot(str(path))


def main(runs: str, out: str, *themes: str) -> None:
    """Write OUT/THEME/PAGE.png for every page (the decision is the app's root)."""
    with serve(Path(runs)) as (address, _):
        for theme in themes or ("light", "dark"):
            folder = Path(out) / theme
            folder.mkdir(parents=True, exist_ok=True)
            with browser(theme) as driver:
                for page in PAGES:
                    driver.get(f"{address}/{page}")
                    picture(driver, folder / f"{page or 'decision'}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
