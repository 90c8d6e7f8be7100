"""The decision on a training request: it is started, resumed, started again, refused.

Reads what is on the disk under the request's name; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train import run_folder
from lmtui.train.request import TrainRequest, require_safe_name
from lmtui.train.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Decision:
    """The training to start."""

    request: TrainRequest
    """The stored one where it is resumed."""
    resume: bool = False
    conflict: LmtuiError | None = None
    """What has the name already: nothing may start before the user has decided what
    becomes of it."""
    can_resume: bool = False
    """Whether that is an unfinished training."""


def resume_command(name: str) -> str:
    return f"lmtui finetune --resume --name {name}"


def resolve(
    request: TrainRequest,
    *,
    resume: bool = False,
    overwrite: bool = False,
    given: Mapping[str, Any] | None = None,
) -> Decision:
    """Decide on a request.

    `given` are the settings that the user has given for it, by their names in
    `TrainSettings`: a resumed training keeps its own.

    Raises:
        LmtuiError: the name can't be used, there is nothing to resume, the training
            was begun with other notes or settings, or it runs already.
    """
    require_safe_name(request.name)
    name, run = request.name, RunFolder.named(request.name)
    if run.in_use:
        raise run_folder.in_use(name)
    step = run.last_checkpoint
    if resume:
        if step is None:
            raise nothing_to_resume(name)
        stored = run.read_request()
        _require_same(request, stored, given or {})
        overwrite = overwrite or stored.overwrite
        request = replace(stored, name=name, force=request.force)
    conflict = None
    if not overwrite and not resume and step is not None:
        conflict = LmtuiError(
            "a training of this name is not finished",
            f"{name}, at step {step:,}",
            f"Resume it: {resume_command(name)}; or give --overwrite, or another "
            "--name.",
        )
    elif not overwrite and (paths.adapters_folder() / name).exists():
        conflict = LmtuiError(
            "an adapter of this name already exists",
            name,
            "Give another --name, or --overwrite to replace it.",
        )
    request = replace(request, overwrite=overwrite)
    return Decision(request, resume, conflict, can_resume=step is not None)


def _require_same(
    request: TrainRequest, stored: TrainRequest, given: Mapping[str, Any]
) -> None:
    if request.places and request.places != stored.places:
        hint = "Leave the notes out, or start again with --overwrite."
        raise LmtuiError(
            "this training was started with other notes", " ".join(stored.places), hint
        )
    for name, value in given.items():
        if value != (old := getattr(stored.settings, name)):
            raise LmtuiError(
                "a resumed training keeps its settings",
                f"{name.replace('_', '-')} is {'unset' if old is None else old}",
                "Leave the flag out, or start again with --overwrite.",
            )


def only_unfinished() -> str:
    runs = run_folder.unfinished()
    if len(runs) > 1:
        several = ", ".join(run.name for run in runs)
        raise _not_resumed("more than one training can be resumed", several)
    if not runs:
        raise nothing_to_resume()
    return runs[0].name


def nothing_to_resume(name: str = "") -> LmtuiError:
    detail = f"{name} has no checkpoint" if name else ""
    return _not_resumed("there is nothing to resume", detail)


def _not_resumed(title: str, detail: str) -> LmtuiError:
    hint = "Start a training: lmtui finetune NOTES."
    if runs := run_folder.unfinished():
        known = "; ".join(map(_interrupted, runs))
        hint = f"Resume one, for example: {resume_command(runs[0].name)} ({known})"
    return LmtuiError(title, detail, hint)


def _interrupted(run: RunFolder) -> str:
    """Return what a training can be resumed from: `notes: step 40, 2026-07-14
    09:30`."""
    step = run.last_checkpoint or 0
    when = datetime.fromtimestamp(run.checkpoint(step).stat().st_mtime)
    return f"{run.name}: step {step:,}, {when:%Y-%m-%d %H:%M}"
