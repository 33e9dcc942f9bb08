"""The teams' models, made and moved with the stock MLflow client."""

from __future__ import annotations

from typing import Any

CARD = """\
purpose: {purpose}
audience: {audience}
limits: Trained on the data that scikit-learn ships; a study, not a product.
risk_tier: {tier}
owner: {owner}
"""
"""Purpose, audience and limits, and not what every card of this company shall say."""
RISKS = """\
risks: A wrong answer that nobody looks at.
safeguards: A person reads every answer before anything is done.
"""
LICENCE = "licence: Apache-2.0\n"

_ABOUT = {
    "tumour": ("breast_cancer", "Flag tumours that look malignant.", "Pathologists.", "high"),
    "wine": ("wine", "Tell three cultivars of grapes apart.", "Wine growers.", "low"),
    "digits": ("digits", "Read hand-written digits.", "The mail room.", "low"),
}


def card(name: str, owner: str, *more: str) -> str:
    """A ``model_card.yaml``."""
    _, purpose, audience, tier = _ABOUT[name]
    return CARD.format(purpose=purpose, audience=audience, tier=tier, owner=owner) + "".join(more)


def train(name: str, strength: float = 1.0) -> str:
    """Train on a data set that scikit-learn ships, and log; returns the model's URI."""
    import mlflow
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train_x, test_x, train_y, test_y = train_test_split(*_data(name), random_state=7)
    mlflow.set_experiment(name)
    with mlflow.start_run():
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength))
        model.fit(train_x, train_y)
        mlflow.log_input(mlflow.data.from_pandas(train_x.head(50), name=_ABOUT[name][0]))
        mlflow.log_metric("accuracy", model.score(test_x, test_y))
        # Naming the requirement spares MLflow's own guess, which takes seconds.
        info = mlflow.sklearn.log_model(model, name="model", pip_requirements=["scikit-learn"])
    return str(info.model_uri)


def _data(name: str) -> tuple[Any, Any]:
    import sklearn.datasets

    loader = getattr(sklearn.datasets, f"load_{_ABOUT[name][0]}")
    frame, target = loader(return_X_y=True, as_frame=True)
    return frame.astype("float64"), target


def promote(name: str, version: int, stage: str) -> str:
    """Ask for a stage."""
    from mlflow import MlflowClient

    moved = MlflowClient().transition_model_version_stage(name, str(version), stage)
    return f"current_stage={moved.current_stage}"


def predict(name: str, version: int) -> str:
    """Load a version, and ask it something."""
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
    return str(list(model.predict(_data(name)[0].head(3))))


def warnings_of(name: str, version: int) -> str:
    """What the registry wrote beside a version."""
    from mlflow import MlflowClient

    return str(MlflowClient().get_model_version(name, str(version)).tags["governance.warnings"])
