"""The comparison app: Streamlit pages that read run folders and change nothing."""
