"""The app in a real browser: every page draws, nothing of the data runs, nobody else can connect."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from apps.jobs import Job
from tests.conftest import make_tiny_model
from tests.example_data import PAYLOAD
from tests.example_run import make_run
from tests.hostile import hostile_run
from tests.screenshots import PAGES, browser, chromium, serve, settle
from tests.test_app_start import ROWS
from workbench.experiment import Experiment
from workbench.runs import Run

pytestmark = pytest.mark.browser

pytest.importorskip("streamlit", reason="the app needs streamlit")
if chromium() is None and os.environ.get("WORKBENCH_REQUIRE_BROWSER") != "1":
    pytest.skip("no chromium and chromedriver on this machine", allow_module_level=True)

# What stands on each page and nowhere else.
MARKS = {
    "": "CAN'T TELL",
    "scores": "Paired differences",
    "examples": "samples",
    "training": "step 30",
    "data": "Cost of training",
    "rate": "Your name",
    "start": "whether tuning pays",
}
HOSTILE = "hostile-0000000f"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    hostile_run(root, HOSTILE)
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
    assert MARKS.get(page, "") in said
    assert "Page not found" not in said
    assert driver.find_elements("css selector", "[data-testid=stException]") == []
    assert_nothing_ran(driver)
    if page in ("", "scores", "training"):
        charts = driver.find_elements("css selector", "[data-testid=stVegaLiteChart]")
        assert [c.size["height"] > 80 for c in charts] == [True] * len(charts)
        assert charts


@pytest.mark.parametrize("page", PAGES)
def test_a_run_of_attacks_runs_nothing(server, driver, page):
    said = visit(driver, f"{server[0]}/{page}?run={HOSTILE}")
    assert "Page not found" not in said
    assert driver.find_elements("css selector", "[data-testid=stException]") == []
    for summary in driver.find_elements("css selector", "[data-testid=stExpander] summary")[:6]:
        driver.execute_script("arguments[0].click()", summary)
    settle(driver)
    assert_nothing_ran(driver)
    assert driver.execute_script("return window.owned") is None
    foreign = "document.querySelectorAll('[data-testid=stApp] :is(iframe, object, base, form[action], a[href*=evil])')"
    assert driver.execute_script(f"return {foreign}.length") == 0
    assert fetched_from_elsewhere(driver, server[0]) == []


def test_its_report_runs_nothing(driver, runs):
    driver.get((runs / HOSTILE / "report.html").resolve().as_uri())
    assert driver.execute_script("return window.owned") is None
    assert driver.title != "owned"
    made = "document.querySelectorAll('script, iframe, object, base, form, img:not([src^=data]), a[href*=evil], a[href^=javascript]')"
    assert driver.execute_script(f"return {made}.length") == 0
    assert "<script>window.owned=1" in driver.execute_script("return document.body.innerText")


def fetched_from_elsewhere(driver: Any, own: str) -> list[str]:
    fetched = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert fetched
    return [name for name in fetched if not name.startswith((own, "data:", "blob:"))]


def test_nothing_is_fetched_from_elsewhere(server, driver):
    visit(driver, server[0])
    assert fetched_from_elsewhere(driver, server[0]) == []


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


# -- from a file to a verdict, touching no shell -----------------------------------------------------------


def test_a_whole_experiment_in_the_browser(driver, tmp_path):
    from selenium.webdriver.common.keys import Keys

    table, model = tmp_path / "tickets.csv", make_answering_model(tmp_path / "model")
    table.write_text(ROWS)
    runs = tmp_path / "runs"
    with serve(runs, allow_run=True) as (address, _):
        visit(driver, f"{address}/start")
        until(driver, "Upload")
        driver.find_element("css selector", "input[type=file]").send_keys(str(table))
        said = until(driver, "Save and run")
        assert "show a true gain of" in said
        box = driver.find_element("css selector", "textarea")
        text = box.get_attribute("value")
        for old, new in (
            ("smollm2-135m-instruct", str(model)),
            (", batch_size: 16", ""),
            ("test: 0.2, group_by: metadata.customer", "test: 0.5"),
            ("primary: exact_match, also: [macro_f1, perplexity]", "primary: human, also: [exact_match]"),
            ("learning_rate: 0.001", "learning_rate: 0.01"),
        ):
            assert old in text
            text = text.replace(old, new)
        text = "".join(line for line in text.splitlines(keepends=True) if "name: few-shot" not in line)
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text)
        box.send_keys(Keys.CONTROL, Keys.ENTER)
        settle(driver)
        click(driver, "Save and run")
        until(driver, "Stop")
        job = Job(runs, "tickets")
        assert Experiment.load(job.experiment).primary == "human"
        # The page is left and opened again: the run goes on, and the page knows it.
        assert "running" in visit(driver, f"{address}/start")
        click(driver, "Stop")
        until(driver, "Go on", "Run again")
        assert job.pid is None
        click(driver, "Go on")
        until(driver, "See the verdict")
        click(driver, "See the verdict")
        until(driver, "cannot tell the contenders apart")
        run = Run.all(runs)[0]
        rate_all(driver, f"{address}/rate?run={run.name}", run)
        said = visit(driver, f"{address}/?run={run.name}")
        assert "cannot tell the contenders apart" not in said
        assert "lora 1.00" in said
        assert_nothing_ran(driver)


def rate_all(driver: Any, address: str, run: Run) -> None:
    """Rate twenty pairs by the keyboard, lora always the better one, wherever it stands."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    lora = {p.prediction for p in run.predictions("lora")}
    visit(driver, address)
    name = driver.find_element("css selector", "input[aria-label='Your name']")
    name.send_keys("ann", Keys.TAB)
    until(driver, "0 of")
    for done in range(20):
        answers = driver.find_elements("css selector", "[data-testid=stColumn] [data-testid=stText]")
        left = answers[0].text
        driver.execute_script("document.activeElement.blur()")
        ActionChains(driver).send_keys("1" if left in lora else "3").perform()
        until(driver, f"{done + 1} of")
    assert len(run.ratings()) >= 20


def click(driver: Any, label: str) -> None:
    found = [b for b in driver.find_elements("css selector", "button") if b.text.endswith(label)]
    driver.execute_script("arguments[0].click()", found[0])
    settle(driver)


def until(driver: Any, *words: str) -> str:
    """Wait for one of these words on the page; what it says then."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        said = str(driver.execute_script("return document.querySelector('[data-testid=stApp]').innerText"))
        if any(word in said for word in words):
            settle(driver)
            return said
        time.sleep(0.2)
    raise AssertionError(f"none of {words} appeared; the page says:\n{said}")


def make_answering_model(folder: Path) -> Path:
    """A tiny model that ends its answers: to everything it says "leaks"."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_tiny_model(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    asked = "<|im_start|>user\nnumber {} is about the {}<|im_end|>\n<|im_start|>assistant\nleaks<|im_end|>"
    for step in range(60):
        rows = [asked.format(4 * step + i, word) for i, word in enumerate(["bill", "pump", "door", "tank"])]
        batch = tokenizer(rows, return_tensors="pt", padding=True)
        labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder
