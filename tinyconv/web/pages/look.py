"""Jobs of the Look page."""

from __future__ import annotations

from typing import Any

import tinyconv.inspect
from tinyconv.web.jobs import job
from tinyconv.web.studio import Studio


@job("look.layers")
def layers(studio: Studio) -> dict[str, Any]:
    """What each layer gives and costs: the rows of `tc.summary`."""
    subject = studio.subject
    return tinyconv.inspect.summary(subject.model, subject.shape).to_dict()
