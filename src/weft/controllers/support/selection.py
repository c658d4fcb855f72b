"""Label selectors as Kubernetes evaluates them."""

from collections.abc import Mapping

from weft.api.k8s.meta_v1 import LabelSelector


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether the labels satisfy every part; unknown operators satisfy nothing."""
    if any(labels.get(k) != v for k, v in selector.match_labels.items()):
        return False
    for need in selector.match_expressions:
        has = need.key in labels
        met = {
            "In": has and labels[need.key] in need.values if has else False,
            "NotIn": not has or labels[need.key] not in need.values,
            "Exists": has,
            "DoesNotExist": not has,
        }
        if not met.get(need.operator, False):
            return False
    return True
