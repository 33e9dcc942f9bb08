"""What is wrong in config.yaml is said of config.yaml, in words of the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_governance import config
from mlflow_governance.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retention: {year: 7}", "retention has events_days, holds, years"),
        ("retention: {years: 0}", "years is 1 to 100"),
        ("privacy: {hold: [ann]}", "privacy has the keys holds, keep_days"),
        ("colour: red", "unknown settings: colour"),
        ("webhooks: [{name: cache}]", "a webhook has name, url"),
        ("webhooks: [{name: cache, url: 'https://x', secret_file: keys/none}]", "keys/none"),
        ("checkpoints: {witnesses: [{vkey: x, url: 'https://x'}]}", "witness key"),
        ("- a list", "must be a mapping"),
    ],
)
def test_the_file_and_the_setting_are_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)

    with pytest.raises(ConfigurationError) as refused:
        config.load(tmp_path)

    assert refused.value.message.startswith(f"{tmp_path / 'config.yaml'} is not usable: ")
    assert said in refused.value.message
    assert refused.value.advice
