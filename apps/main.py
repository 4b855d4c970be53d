"""Entry of the comparison app: pick a run, pick a page. Start it with `workbench app`."""

from __future__ import annotations

import streamlit as st

from apps import partial, picker
from apps.reading import ReadOnce
from apps.take_along import take_along
from workbench.experiment import ExperimentError
from workbench.runs import RunError

# (file, title, icon, address): the order is that of the questions one asks.
PAGES = (
    ("views/decision.py", "Decision", ":material/gavel:", "decision"),
    ("views/scores.py", "Scores", ":material/leaderboard:", "scores"),
    ("views/examples.py", "Examples", ":material/compare:", "examples"),
    ("views/cost.py", "Cost", ":material/payments:", "cost"),
    ("views/training.py", "Training", ":material/show_chart:", "training"),
    ("views/data.py", "Data", ":material/fact_check:", "data"),
    ("views/rate.py", "Rate", ":material/thumbs_up_down:", "rate"),
    ("views/runs.py", "Compare runs", ":material/difference:", "runs"),
    ("views/start.py", "Start", ":material/add_circle:", "start"),
)

# Pages that say something without a run too.
RUNLESS = ("data", "start")

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
[class*="st-key-take-"] {margin-top: -.9rem;}
[class*="st-key-take-"] button {font-size: .8rem; opacity: .75; min-height: 0; padding: 0;}
[class*="st-key-start-text-"] textarea,
[class*="st-key-row-"] [data-testid="stText"] {font-family: monospace; font-size: .82rem;}
[class*="st-key-marked-"] {border-left: 4px solid #d55e00; padding-left: .6rem; font-weight: 650;}
/* Its cells could be formulas; every table has a button of ours. */
button[aria-label^="Download as CSV"] {display: none;}
[data-testid="stText"] {white-space: pre-wrap; overflow-wrap: anywhere; font-family: inherit;}
</style>"""
# Streamlit writes white on the theme's colour, which is a light one on dark pages.
NIGHT = """<style>
button[kind="primary"], button[kind="primary"] *, [data-tag], [data-tag] * {color: #14171c;}
</style>"""


def main() -> None:
    """Draw the chosen page of the chosen run."""
    st.set_page_config(page_title="workbench", page_icon=ICON, layout="wide")
    st.html(STYLE + (NIGHT if st.context.theme.type == "dark" else ""))
    runs = ReadOnce.all(picker.root())
    pages = [
        st.Page(file, title=title, icon=icon, url_path=address, default=file == PAGES[0][0])
        for file, title, icon, address in PAGES
    ]
    page = st.navigation(pages)
    if not runs:
        st.session_state.pop("run", None)
        if page.url_path in RUNLESS:
            page.run()
        else:
            partial.no_runs(str(picker.root()))
        return
    run = picker.choose(runs)
    take_along(run)
    if page.url_path != "start":
        partial.banner(run, picker.meta_or_damage(run))
    try:
        page.run()
    except (RunError, ExperimentError) as error:
        partial.damaged(error)


main()
