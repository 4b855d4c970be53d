"""Entry of the comparison app: pick a run, pick a page. Start it with `workbench app`."""

from __future__ import annotations

import streamlit as st

from apps import partial, picker
from workbench.runs import Run, RunError

# (file, title, icon, address): the order is that of the questions one asks.
PAGES = (
    ("views/decision.py", "Decision", ":material/gavel:", "decision"),
    ("views/scores.py", "Scores", ":material/leaderboard:", "scores"),
    ("views/examples.py", "Examples", ":material/compare:", "examples"),
    ("views/training.py", "Training", ":material/show_chart:", "training"),
    ("views/data.py", "Data", ":material/fact_check:", "data"),
)

# The two marks of the charts, weighed against each other. Drawn here: an icon by name is fetched from afar.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<circle cx="9" cy="19" r="7" fill="#0072b2"/><path d="M23 3l7 9-7 9-7-9z" fill="#d55e00"/>
<path d="M3 29h26" stroke="#5b6470" stroke-width="3"/></svg>"""

# Fixed text, no data in it.
STYLE = """<style>
.stMainBlockContainer {max-width: 1180px; padding-top: 3.2rem;}
[class*="st-key-verdict-"] {border-left: 6px solid; padding: .2rem 0 .2rem 1.2rem;}
.st-key-verdict-tune {border-color: #009e73;}
.st-key-verdict-dont-tune {border-color: #0072b2;}
.st-key-verdict-cant-tell {border-color: #e69f00;}
[data-testid="stText"] {white-space: pre-wrap; overflow-wrap: anywhere; font-family: inherit;}
</style>"""


def main() -> None:
    """Draw the chosen page of the chosen run."""
    st.set_page_config(page_title="workbench", page_icon=ICON, layout="wide")
    st.html(STYLE)
    runs = Run.all(picker.root())
    if not runs:
        st.navigation([st.Page(_no_runs, title="Start")], position="hidden").run()
        return
    pages = [
        st.Page(file, title=title, icon=icon, url_path=address, default=file == PAGES[0][0])
        for file, title, icon, address in PAGES
    ]
    page = st.navigation(pages)
    run = picker.choose(runs)
    partial.banner(run, picker.meta_or_damage(run))
    try:
        page.run()
    except RunError as error:
        partial.damaged(error)


def _no_runs() -> None:
    partial.no_runs(str(picker.root()))


main()
