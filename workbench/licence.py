"""The licence of a contender's model, where it stands in the way of shipping."""

from __future__ import annotations

from validators.licences import licence_named, licence_of

from .evidence import Evidence


def licence_caveat(e: Evidence) -> str | None:
    """What to check before shipping; None for a permissive licence, a hosted service, or no model at all.

    What the model itself said when it answered comes first, then the table of known families.
    """
    backend, model = e.info.get("backend") or {}, e.info.get("model") or {}
    ours = backend.get("kind") == "hf" or (backend.get("kind") == "openai" and backend.get("base_url"))
    if not ours:
        return None
    name = str(backend.get("model"))
    said = model.get("licence")
    licence = licence_named(said, "the run") if said else licence_of(name)
    if licence is None:
        return f"licence of {name} is unknown: check it before shipping"
    if licence.check is None:
        return None
    return f"{name} is under the {licence.title}: {licence.check}"
