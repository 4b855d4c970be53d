"""One file a page, run by Streamlit; the table of pages stands in apps/main.py."""
