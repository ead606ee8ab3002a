"""Which way of a metric is the better one, as far as common names tell."""

from __future__ import annotations

import math
import re

_LOWER = re.compile(
    r"loss|error|rmse|mape|mse|mae|rmsle|perplexity|deviance|\b(?:[cw]er|ppl|[ab]ic|fid|eer|brier|me)\b"
)
_HIGHER = re.compile(
    r"accuracy|precision|recall|score|auroc|auprc|bleu|rouge|meteor|ndcg|dice|kappa|psnr|ssim|iou"
    r"|sensitivity|specificity|\b(?:acc|auc|f1|r2|m?ap\d*|mcc|mrr|hits?)\b"
)


def direction_of(name: str) -> int:
    """-1 where less is better, 1 where more is, 0 where the name does not tell."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-./ ]+", " ", name).lower()
    return -1 if _LOWER.search(words) else 1 if _HIGHER.search(words) else 0


def judged(name: str, delta: float) -> str | None:
    """`better` or `worse`; None where the name of the metric does not tell."""
    direction = direction_of(name)
    if not direction or not delta or math.isnan(delta):
        return None
    return "better" if delta * direction > 0 else "worse"
