"""evaluate: out/model.skops, data/test.csv → out/metrics.json. Run in the working folder.

Two people take this step, and must get the same bytes.
"""

import json
from pathlib import Path

import pandas as pd
import skops.io
from sklearn.metrics import accuracy_score, recall_score

frame = pd.read_csv("data/test.csv")
model = skops.io.load("out/model.skops", trusted=[])
predicted, known = model.predict(frame.drop(columns="benign")), frame["benign"]
metrics = {
    "accuracy": round(accuracy_score(known, predicted), 4),
    "recall_malignant": round(recall_score(known, predicted, pos_label=0), 4),
}
Path("out/metrics.json").write_text(json.dumps(metrics, sort_keys=True) + "\n")
