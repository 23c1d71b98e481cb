"""Looking at models and at runs: shapes, costs, receptive fields, pictures, the tape, NaN, and where time is spent."""

from tinyconv.errors import suggest_names
from tinyconv.inspect.anomaly import detect_anomaly
from tinyconv.inspect.cake import Cake
from tinyconv.inspect.convolution import Columns, columns, loops
from tinyconv.inspect.explain import Explanation, Term, explain
from tinyconv.inspect.field import Field
from tinyconv.inspect.maps import FeatureMaps, LayerMaps, feature_maps
from tinyconv.inspect.profile import Event, Total, profile
from tinyconv.inspect.record import Frame, Operand, Recording, Source, record
from tinyconv.inspect.rows import LeafRow, Part, Row
from tinyconv.inspect.summary import LayerSummary, Summary, summary
from tinyconv.inspect.trace import Trace, trace

__all__ = [
    "Cake",
    "Columns",
    "Event",
    "Explanation",
    "FeatureMaps",
    "Field",
    "Frame",
    "LayerMaps",
    "LayerSummary",
    "LeafRow",
    "Operand",
    "Part",
    "Recording",
    "Row",
    "Source",
    "Summary",
    "Term",
    "Total",
    "Trace",
    "columns",
    "detect_anomaly",
    "explain",
    "feature_maps",
    "loops",
    "profile",
    "record",
    "summary",
    "trace",
]

suggest_names(globals())
