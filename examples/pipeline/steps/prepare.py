"""prepare: raw/breast_cancer.csv → data/train.csv, data/test.csv. Run in the working folder."""

from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

# The file's first line counts rows and columns and names the two classes.
frame = pd.read_csv("raw/breast_cancer.csv", skiprows=1, header=None)
frame.columns = [*(f"feature_{n}" for n in range(frame.shape[1] - 1)), "benign"]
train, test = train_test_split(frame, random_state=7, stratify=frame["benign"])
Path("data").mkdir(exist_ok=True)
train.to_csv("data/train.csv", index=False, lineterminator="\n")
test.to_csv("data/test.csv", index=False, lineterminator="\n")
