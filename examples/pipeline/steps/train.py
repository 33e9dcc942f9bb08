"""train: data/train.csv → out/model.skops. Run in the working folder."""

from pathlib import Path

import pandas as pd
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

frame = pd.read_csv("data/train.csv")
model = make_pipeline(StandardScaler(), LogisticRegression())
model.fit(frame.drop(columns="benign"), frame["benign"])
Path("out").mkdir(exist_ok=True)
skops.io.dump(model, "out/model.skops")
