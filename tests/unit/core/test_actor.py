from mlflow_governance.core.actor import Actor


def test_spellings_of_one_name_are_one_person() -> None:
    assert Actor("Ann ").person == Actor("ann").person == Actor("\uff21nn").person


def test_nobody_in_particular_is_not_authenticated() -> None:
    assert not Actor.anonymous().authenticated
    assert not Actor.system("worker").authenticated
