"""Options of the app: what the command line and the settings decide.

Values and functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from lmtui.engine.sampling.recommended import SamplingFor
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.chat.options import ChatOptions

if TYPE_CHECKING:
    from lmtui.chat.summary import StoredConversation
    from lmtui.learn.lesson import Lesson
    from lmtui.models.list_rows import ListedModel
    from lmtui.tui.editor.options import Writing
    from lmtui.tui.finetune.run import Finetuning
    from lmtui.tui.inspect_source import InspectSource
    from lmtui.tui.preferences import Preferences

ListModels = Callable[[], "Sequence[ListedModel]"]
"""Returns everything that can be chosen; may wait for a disk."""
RecentFiles = Callable[[], Sequence[Path]]
"""Returns the files inspected or edited last; may wait for a disk."""
OpenWriting = Callable[[Path], "Writing"]
BeginTraining = Callable[[Path, str | None], "Finetuning"]
FirstScreen = Literal["start", "chat", "complete", "finetune", "inspect", "learn"]
OpenLesson = Callable[[], "Lesson"]
"""Reads the course that is shown."""


def _refuse(*_: object) -> NoReturn:
    raise LmtuiError("nothing can be opened here")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    first: FirstScreen = "start"
    ref: ModelRef = field(default_factory=ModelRef)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    sampling_for: SamplingFor | None = None
    """Returns the same with what a model recommends; None where all of it is set."""
    list_models: ListModels = tuple
    better_than_default: str = ""
    """A sentence that leads from the default model to a better one."""
    servers: Mapping[str, str] = field(default_factory=dict)
    """The addresses of the servers that have a name."""
    recent_files: RecentFiles = tuple
    preferences: Preferences | None = None
    """Theme and keys; None for the defaults, which are not saved."""
    chats_file: Path | None = None
    """Where conversations are stored; None stores none."""
    chat: ChatOptions = field(default_factory=ChatOptions)
    system: str = ""
    opened: StoredConversation | None = None
    source: InspectSource | None = None
    writing: Writing | None = None
    """The file that is edited from the beginning, if any."""
    open_writing: OpenWriting = _refuse
    """Opens a file for the editor; may wait for a disk."""
    finetuning: Finetuning | None = None
    """The training that is watched from the beginning, if any."""
    begin_training: BeginTraining = _refuse
    """Begins a training on notes, of a model as `--model` takes it; may wait for a
    disk."""
    open_lesson: OpenLesson | None = None
    """The course that is shown; there is none without."""
