"""argoproj.io/v1alpha1, as weft reads it: every kind in one place."""

from weft.api.argo.analysis import AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate
from weft.api.argo.common import GROUP
from weft.api.argo.experiment import Experiment
from weft.api.argo.rollout import Rollout

__all__ = [
    "GROUP", "AnalysisRun", "AnalysisTemplate", "ClusterAnalysisTemplate", "Experiment", "Rollout",
]  # fmt: skip
