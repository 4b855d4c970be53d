"""`python -m workbench`: the command line without the installed script."""

from __future__ import annotations

from .cli import main

main()
