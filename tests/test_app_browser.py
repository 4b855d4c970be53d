"""The app in a real browser: every page draws, nothing of the data runs, nobody else can connect."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.example_data import PAYLOAD
from tests.example_run import make_run
from tests.screenshots import PAGES, browser, chromium, serve, settle

pytestmark = pytest.mark.browser

pytest.importorskip("streamlit", reason="the app needs streamlit")
if chromium() is None and os.environ.get("WORKBENCH_REQUIRE_BROWSER") != "1":
    pytest.skip("no chromium and chromedriver on this machine", allow_module_level=True)

# What stands on each page and nowhere else.
MARKS = {
    "": "CAN'T TELL",
    "scores": "Paired differences",
    "examples": "samples shown",
    "training": "Dev loss rose after step 30",
    "data": "Cost of training",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    make_run(root)
    return root


@pytest.fixture(scope="module")
def server(runs):
    with serve(runs) as served:
        yield served


@pytest.fixture(scope="module")
def driver():
    with browser() as opened:
        yield opened


def visit(driver: Any, address: str) -> str:
    driver.get(address)
    settle(driver)
    return str(driver.execute_script("return document.querySelector('[data-testid=stApp]').innerText"))


def assert_nothing_ran(driver: Any) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    with pytest.raises(NoAlertPresentException):
        driver.switch_to.alert  # noqa: B018
    assert driver.title != "owned"
    main = "document.querySelector('[data-testid=stMain]')"
    assert (
        driver.execute_script(f"return {main}.querySelectorAll('script, img, a[href^=javascript]').length")
        == 0
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_page_draws_and_runs_nothing(server, driver, page):
    said = visit(driver, f"{server[0]}/{page}")
    assert MARKS[page] in said
    assert "Page not found" not in said
    assert driver.find_elements("css selector", "[data-testid=stException]") == []
    assert_nothing_ran(driver)
    if page in ("", "scores", "training"):
        charts = driver.find_elements("css selector", "[data-testid=stVegaLiteChart]")
        assert [c.size["height"] > 150 for c in charts] == [True] * len(charts)
        assert charts


def test_nothing_is_fetched_from_elsewhere(server, driver):
    visit(driver, server[0])
    fetched = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert fetched
    assert [name for name in fetched if not name.startswith((server[0], "data:", "blob:"))] == []


def test_payloads_are_shown_to_the_letter_and_do_not_run(server, driver, runs):
    samples = make_run(runs).samples()
    for place, text in ((3, PAYLOAD), (7, "<img src=x onerror="), (8, f"HTTP 500 {PAYLOAD}")):
        said = visit(driver, f"{server[0]}/examples?sample={samples[place].id}")
        assert text in said
        assert "**bold** [click](javascript:alert(1)) $x^2$ :red[red]" in said or place != 7
        driver.find_element("css selector", "[data-testid=stExpander] summary").click()
        settle(driver)
        assert_nothing_ran(driver)


def test_a_name_that_is_no_run_opens_nothing(server, driver):
    said = visit(driver, f"{server[0]}/?run=..%2F..%2Fetc%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "There is no run called ../../etc<script>alert(1)</script> here" in said
    assert_nothing_ran(driver)


def test_the_server_listens_on_this_machine_only(server):
    port = int(server[0].rsplit(":", 1)[1])
    assert listening(server[1]) == {("127.0.0.1", port)}


def listening(process: int) -> set[tuple[str, int]]:
    """Addresses and ports a process listens on, from the kernel's tables."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs Linux's /proc")
    sockets = {str(fd.readlink()) for fd in Path(f"/proc/{process}/fd").iterdir() if fd.is_symlink()}
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] != "0A" or f"socket:[{fields[9]}]" not in sockets:
                continue
            host, port = fields[1].split(":")
            words = bytes.fromhex(host)
            raw = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
            found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found
