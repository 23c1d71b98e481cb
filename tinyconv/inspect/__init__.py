"""What a model looks like from outside: shapes, costs, receptive fields, and the text form of a stack of layers."""

from tinyconv.inspect.cake import Cake
from tinyconv.inspect.field import Field
from tinyconv.inspect.maps import FeatureMaps, LayerMaps, feature_maps
from tinyconv.inspect.summary import LayerSummary, Summary, summary

__all__ = ["Cake", "FeatureMaps", "Field", "LayerMaps", "LayerSummary", "Summary", "feature_maps", "summary"]
