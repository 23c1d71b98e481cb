"""Looking at models and at runs: shapes, costs, receptive fields, pictures, the tape, NaN, and where time is spent."""

from tinyconv.errors import suggest_names
from tinyconv.inspect.anomaly import detect_anomaly
from tinyconv.inspect.cake import Cake
from tinyconv.inspect.field import Field
from tinyconv.inspect.maps import FeatureMaps, LayerMaps, feature_maps
from tinyconv.inspect.profile import Event, Total, profile
from tinyconv.inspect.rows import LeafRow, Part, Row
from tinyconv.inspect.summary import LayerSummary, Summary, summary
from tinyconv.inspect.trace import Trace, trace

__all__ = [
    "Cake",
    "Event",
    "FeatureMaps",
    "Field",
    "LayerMaps",
    "LayerSummary",
    "LeafRow",
    "Part",
    "Row",
    "Summary",
    "Total",
    "Trace",
    "detect_anomaly",
    "feature_maps",
    "profile",
    "summary",
    "trace",
]

suggest_names(globals())
