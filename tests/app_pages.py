"""Pages of the app opened without a browser, and what they say."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

MAIN = Path(__file__).resolve().parent.parent / "apps" / "main.py"


def opened(view: str = "decision", **address: str) -> AppTest:
    """A page of the app that `WORKBENCH_RUNS` names, at an address; a page that breaks fails."""
    at = AppTest.from_file(str(MAIN), default_timeout=120)
    at.query_params.update({k: v for k, v in address.items() if k == "run"})
    at.run()
    if view != "decision":
        at.switch_page(f"views/{view}.py")
        at.query_params.update(address)
        at.run()
    assert not at.exception, at.exception
    return at


def words(at: AppTest) -> str:
    """Everything the page says as Markdown or text, without the escapes of literal()."""
    elements = [*at.title, *at.subheader, *at.markdown, *at.caption, *at.text, *at.code, *at.info, *at.error]
    return "\n".join(str(e.value) for e in [*elements, *at.warning, *at.success]).replace("\\", "")
