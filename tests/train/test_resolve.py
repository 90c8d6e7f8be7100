"""What is decided on a request: started, resumed, started again, or refused."""

from __future__ import annotations

import re

import pytest

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train.request import TrainRequest
from lmtui.train.resolve import Decision, only_unfinished, resolve, resume_command
from lmtui.train.run_folder import RunFolder
from lmtui.train.settings import TrainSettings

REQUEST = TrainRequest("notes", ("/notes",))
BEGUN = TrainRequest("notes", ("/notes",), settings=TrainSettings(rank=3), threads=1)


def begun(request: TrainRequest = BEGUN) -> RunFolder:
    run = RunFolder.named(request.name)
    run.write(run.request_file, request)
    checkpoint = run.checkpoint(3)
    checkpoint.mkdir(parents=True)
    (checkpoint / "state").write_text("x")
    return run


def refused(request: TrainRequest = REQUEST, **given: object) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        resolve(request, **given)  # type: ignore[arg-type]
    return caught.value


def test_new_name_is_started_as_asked(home: object) -> None:
    assert resolve(REQUEST) == Decision(REQUEST)


def test_unfinished_training_is_a_conflict_until_the_user_decides(
    home: object,
) -> None:
    begun()
    decision = resolve(REQUEST)
    assert decision.conflict is not None and decision.can_resume
    assert "not finished" in decision.conflict.title
    for way in (resume_command("notes"), "--overwrite", "--name"):
        assert way in decision.conflict.hint
    again = resolve(REQUEST, overwrite=True)
    assert again.conflict is None and again.request.overwrite and not again.resume
    # A resumed training keeps its request.
    asked = TrainRequest("notes", (), force=True)
    resumed = resolve(asked, resume=True)
    assert resumed.conflict is None and resumed.resume and resumed.request.force
    assert resumed.request.settings == BEGUN.settings
    assert (resumed.request.places, resumed.request.threads) == (BEGUN.places, 1)


@pytest.mark.parametrize("resume", [False, True])
def test_adapter_of_the_same_name_is_a_conflict(home: object, *, resume: bool) -> None:
    (paths.adapters_folder() / "notes").mkdir(parents=True)
    if resume:
        begun()
    conflict = resolve(REQUEST, resume=resume).conflict
    assert conflict is not None and "adapter of this name" in conflict.title
    decision = resolve(REQUEST, resume=resume, overwrite=True)
    assert decision.conflict is None and decision.request.overwrite


def test_running_training_is_left_alone(home: object) -> None:
    with begun().locked():
        for way in ({"overwrite": True}, {"resume": True}):
            assert "running already" in refused(**way).title


def test_resumed_training_refuses_other_notes_and_settings(home: object) -> None:
    begun()
    other = TrainRequest("notes", ("/other",))
    assert "other notes" in refused(other, resume=True).title
    error = refused(resume=True, given={"rank": 4})
    assert error.detail == "rank is 3"
    assert resolve(REQUEST, resume=True, given={"rank": 3}).resume


def test_resume_without_a_checkpoint_names_other_trainings(home: object) -> None:
    error = refused(resume=True)
    assert error.title == "there is nothing to resume"
    assert error.hint == "Start a training: lmtui finetune NOTES."
    begun(TrainRequest("other", ()))
    assert "other" in refused(resume=True).hint


def test_the_only_unfinished_training_needs_no_name(home: object) -> None:
    with pytest.raises(LmtuiError, match="nothing to resume"):
        only_unfinished()
    begun(TrainRequest("one", ()))
    assert only_unfinished() == "one"
    begun(TrainRequest("two", ()))
    with pytest.raises(LmtuiError) as caught:
        only_unfinished()
    assert caught.value.detail == "one, two"
    when = r"step 3, 20\d\d-\d\d-\d\d \d\d:\d\d"
    assert re.search(rf"one: {when}; two: {when}", caught.value.hint)


def test_unsafe_name_is_refused_with_a_safe_one(home: object) -> None:
    assert refused(TrainRequest("../x y", ())).hint.endswith("--name x-y")
