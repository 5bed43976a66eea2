"""An assistant on this device that adapts to its user.

    with unspoken.Engine("model.gguf") as engine:
        for piece in engine.chat().stream("Why is the sky blue?"):
            print(piece, end="", flush=True)

All objects may be used from any thread. What blocks lets other Python threads run, and has a twin for asyncio
whose name begins with `a`, or is an async iterator too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Optional, TypeVar, Union

from . import _native
from ._native import (
    AdaptationOptions,
    AdapterVersion,
    Budget,
    ChatOptions,
    CriticOptions,
    CriticReader,
    Critique,
    DeviceKind,
    KvKind,
    EngineOptions,
    EvaluationReport,
    Feedback,
    JobControl,
    JobPhase,
    JobProgress,
    LogLevel,
    Message,
    Outcome,
    Preference,
    Reply,
    ReplyOptions,
    RunEnd,
    StepCritique,
    StepReport,
    StopReason,
    UnspokenError,
    error_code,
    version,
)

__version__ = version()

Path = Union[str, "os.PathLike[str]"]
T = TypeVar("T")

__all__ = [
    "Adaptation",
    "AdaptationOptions",
    "AdapterVersion",
    "Budget",
    "Chat",
    "ChatOptions",
    "Critic",
    "CriticOptions",
    "CriticReader",
    "Critique",
    "DeviceKind",
    "KvKind",
    "Engine",
    "EngineOptions",
    "Evaluation",
    "EvaluationReport",
    "Feedback",
    "JobControl",
    "JobPhase",
    "JobProgress",
    "LogLevel",
    "Message",
    "Outcome",
    "Preference",
    "Profile",
    "Reply",
    "ReplyOptions",
    "RunEnd",
    "StepCritique",
    "StepReport",
    "StopReason",
    "Stream",
    "UnspokenError",
    "error_code",
    "log_to",
    "version",
]


async def _cancellable(call: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Runs a blocking call on a thread; a task that is cancelled cancels the call, too."""
    work = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancel()
        await asyncio.wait([work])
        raise


class _Handle:
    """What closes: `with` or `close()`."""

    _handle: Any

    def _native(self) -> Any:
        if self._handle is None:
            raise ValueError(f"this {type(self).__name__} is closed")
        return self._handle

    def close(self) -> None:
        """Gives its memory back once nothing made from it is in use either."""
        self._handle = None

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()


class Engine(_Handle):
    """Weights on a device: heavy to load, shared by everything made from it.

    `critic` is True for a critic on the policy's weights, or `CriticOptions`. `device` is "auto", "cpu" or "gpu".
    `store` is the folder where users are kept, `store_key` 32 bytes that encrypt it.
    """

    def __init__(
        self,
        policy: Path,
        *,
        critic: Union[bool, CriticOptions] = False,
        device: str = "auto",
        threads: Optional[int] = None,
        store: Optional[Path] = None,
        store_key: Optional[bytes] = None,
    ) -> None:
        if isinstance(critic, bool):
            critic_options = CriticOptions() if critic else None
        else:
            critic_options = critic
        try:
            kind = DeviceKind[device.upper()]
        except KeyError:
            raise ValueError(f"device {device!r}: expected 'auto', 'cpu' or 'gpu'") from None
        options = EngineOptions(
            policy=os.fspath(policy),
            critic=critic_options,
            device=kind,
            threads=threads,
            store=None if store is None else os.fspath(store),
            store_key=store_key,
        )
        self._handle = _native.Engine(options)

    @classmethod
    async def load(cls, policy: Path, **options: Any) -> "Engine":
        """As the constructor, on a thread."""
        return await asyncio.to_thread(lambda: cls(policy, **options))

    def __enter__(self) -> "Engine":
        return self

    @property
    def device_name(self) -> str:
        return self._native().device_name()

    @property
    def architecture(self) -> str:
        return self._native().architecture()

    @property
    def context_length(self) -> int:
        return self._native().context_length()

    @property
    def weight_bytes(self) -> int:
        return self._native().weight_bytes()

    def tokenize(self, text: str) -> list[int]:
        return self._native().tokenize(text)

    def detokenize(self, tokens: Sequence[int]) -> str:
        return self._native().detokenize(list(tokens))

    def chat(
        self,
        *,
        system: Optional[str] = None,
        context_tokens: int = 2048,
        adapter: Optional[Path] = None,
        profile: Optional["Profile"] = None,
        kv: Optional[KvKind] = None,
    ) -> "Chat":
        """A conversation. With a profile the assistant knows the user and the conversation is kept."""
        options = ChatOptions(
            system=system,
            context_tokens=context_tokens,
            adapter=None if adapter is None else os.fspath(adapter),
            profile=None if profile is None else profile._native(),
            kv=kv,
        )
        return Chat(self._native().chat(options))

    def critic(self) -> "Critic":
        return Critic(self._native().critic())

    def profile(self, name: str) -> "Profile":
        """The user of this name, who is new where there is none yet."""
        return Profile(self._native().profile(name))

    def users(self) -> list[str]:
        return self._native().users()

    def delete_user(self, name: str) -> None:
        """Forgets a user: profile, conversations, adapters, jobs."""
        self._native().delete_user(name)

    def import_user(self, folder: Path, name: Optional[str] = None) -> "Profile":
        return Profile(self._native().import_user(os.fspath(folder), name))

    def evaluation(self, adapter: Optional[Path] = None) -> "Evaluation":
        return Evaluation(self._native().evaluation(None if adapter is None else os.fspath(adapter)))


class Stream(_Handle, Iterator[str], AsyncIterator[str]):
    """A reply that is being computed: iterate over its pieces with `for` or `async for`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __enter__(self) -> "Stream":
        return self

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> str:
        piece = self._native().next_piece()
        if piece is None:
            raise StopIteration
        return piece

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> str:
        handle = self._native()
        piece = await _cancellable(handle.next_piece, handle.cancel)
        if piece is None:
            raise StopAsyncIteration
        return piece

    def reply(self) -> Reply:
        """The whole reply; pieces that were not pulled yet are dropped."""
        return self._native().reply()

    def cancel(self) -> None:
        """Stops it: what was said so far is its reply."""
        self._native().cancel()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        super().close()


class _Listener(_native.TextListener):
    def __init__(self, call: Callable[[str], Optional[bool]]) -> None:
        self.call = call
        self.error: Optional[BaseException] = None

    def on_text(self, text: str) -> bool:
        try:
            return self.call(text) is not False
        except BaseException as error:
            self.error = error
            return False


class Chat(_Handle):
    """A conversation with memory. Options of a reply are the fields of `ReplyOptions`: `max_tokens`, `temperature`,
    `top_k`, `top_p`, `min_p`, `seed`, `stop`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __enter__(self) -> "Chat":
        return self

    def send(self, text: str, on_text: Optional[Callable[[str], Optional[bool]]] = None, **options: Any) -> Reply:
        """Says `text` and waits for the reply. `on_text` gets it as it comes; False from it stops the reply."""
        if on_text is None:
            return self._native().send(text, ReplyOptions(**options))
        listener = _Listener(on_text)
        reply = self._native().send_with(text, listener, ReplyOptions(**options))
        if listener.error is not None:
            raise listener.error
        return reply

    def asend(self, text: str, **options: Any) -> Awaitable[Reply]:
        """As `send`; cancelling the task cancels the reply."""
        handle = self._native()
        return _cancellable(lambda: handle.send(text, ReplyOptions(**options)), handle.cancel)

    def stream(self, text: str, **options: Any) -> Stream:
        """Says `text`; the reply is pulled."""
        return Stream(self._native().stream(text, ReplyOptions(**options)))

    def cancel(self) -> None:
        """Stops the replies that have begun, from any thread."""
        self._native().cancel()

    @property
    def messages(self) -> list[Message]:
        """What was said so far, the system message left out; may be set."""
        return self._native().messages()

    @messages.setter
    def messages(self, messages: Sequence[Message]) -> None:
        self._native().set_messages(list(messages))

    @property
    def conversation(self) -> Optional[int]:
        """Its number in the user's store."""
        return self._native().conversation()


class Critic(_Handle):
    """Reads answers for a user."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def critique(self, preference: str, query: str, response: str) -> Critique:
        return self._native().critique(preference, query, response)

    def acritique(self, preference: str, query: str, response: str) -> Awaitable[Critique]:
        handle = self._native()
        return _cancellable(lambda: handle.critique(preference, query, response), handle.cancel)

    def cancel(self) -> None:
        self._native().cancel()


class Profile(_Handle):
    """A user: what they prefer, what they said, the adapter that fits them."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def name(self) -> str:
        return self._native().name()

    @property
    def preferences(self) -> list[Preference]:
        return self._native().preferences()

    def state(self, text: str) -> Preference:
        """Keeps a preference that the user stated: a sentence in their voice."""
        return self._native().state(text)

    def edit(self, id: int, text: str) -> Preference:
        return self._native().edit(id, text)

    def remove(self, id: int) -> None:
        """Throws a preference out; inference does not bring it back."""
        self._native().remove(id)

    def learn(self, conversation: int) -> list[Preference]:
        """Concludes preferences from a conversation; takes seconds."""
        return self._native().learn(conversation)

    def alearn(self, conversation: int) -> Awaitable[list[Preference]]:
        handle = self._native()
        return _cancellable(lambda: handle.learn(conversation), handle.cancel)

    def cancel(self) -> None:
        self._native().cancel()

    def feedback(self, message: Optional[int], feedback: Feedback) -> None:
        """Keeps what the user thinks of a reply (`Reply.message`)."""
        self._native().feedback(message, feedback)

    def hold_out(self, record: str) -> None:
        """Keeps a record (JSON) that is only measured on."""
        self._native().hold_out(record)

    @property
    def versions(self) -> list[AdapterVersion]:
        return self._native().versions()

    @property
    def version(self) -> int:
        """The adapter's version in use; 0 for the base model. May be set."""
        return self._native().version()

    @version.setter
    def version(self, number: int) -> None:
        self._native().use_version(number)

    def roll_back(self) -> int:
        return self._native().roll_back()

    def export(self, folder: Path) -> None:
        self._native().export(os.fspath(folder))

    def adaptation(self, **options: Any) -> "Adaptation":
        """A job that adapts the policy to this user. Options are the fields of `AdaptationOptions`."""
        return Adaptation(self._native().adaptation(AdaptationOptions(**options)))

    def evaluation(self) -> "Evaluation":
        return Evaluation(self._native().evaluation())


class _JobListener(_native.JobListener):
    def __init__(self, call: Callable[[JobProgress], Optional[JobControl]]) -> None:
        self.call = call
        self.error: Optional[BaseException] = None

    def on_progress(self, progress: JobProgress) -> JobControl:
        try:
            return self.call(progress) or JobControl.CONTINUE
        except BaseException as error:
            self.error = error
            return JobControl.STOP

    def closed_gate(self) -> Optional[str]:
        return None


class Adaptation(_Handle):
    """A job that adapts the policy to a user. Iterate over its steps, or `run` it; then `conclude`."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __enter__(self) -> "Adaptation":
        return self

    @property
    def id(self) -> int:
        return self._native().id()

    def step(self) -> Optional[StepReport]:
        """One step; None where none is left, the budget is used up, or it was cancelled."""
        return self._native().step(None)

    def __iter__(self) -> Iterator[StepReport]:
        while (report := self.step()) is not None:
            yield report

    async def __aiter__(self) -> AsyncIterator[StepReport]:
        handle = self._native()
        while (report := await _cancellable(lambda: handle.step(None), handle.cancel)) is not None:
            yield report

    def run(self, on_progress: Optional[Callable[[JobProgress], Optional[JobControl]]] = None) -> RunEnd:
        """Runs until it is done, the budget is used up, or `on_progress` or `cancel` says so."""
        listener = None if on_progress is None else _JobListener(on_progress)
        end = self._native().run(listener)
        if listener is not None and listener.error is not None:
            raise listener.error
        return end

    def cancel(self) -> None:
        self._native().cancel()

    def conclude(self) -> Outcome:
        """Makes the adapter the user's new version, or drops it where it made things worse."""
        return self._native().conclude()


class _EvaluationListener(_native.EvaluationListener):
    def __init__(self, call: Callable[[int, int], Optional[bool]]) -> None:
        self.call = call
        self.error: Optional[BaseException] = None

    def on_record(self, done: int, all: int) -> bool:
        try:
            return self.call(done, all) is not False
        except BaseException as error:
            self.error = error
            return False


class Evaluation(_Handle):
    """Choice accuracy on records."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def run(
        self,
        records: Path,
        with_preference: bool = True,
        *,
        on_progress: Optional[Callable[[int, int], Optional[bool]]] = None,
    ) -> EvaluationReport:
        """Measures a file of records (JSON lines). `on_progress` is told how many of how many are measured; returning
        False stops it (`UnspokenError.Cancelled`)."""
        listener = None if on_progress is None else _EvaluationListener(on_progress)
        try:
            return self._native().run(os.fspath(records), with_preference, listener)
        except UnspokenError.Cancelled:
            if listener is not None and listener.error is not None:
                raise listener.error from None
            raise

    def arun(self, records: Path, with_preference: bool = True) -> Awaitable[EvaluationReport]:
        handle = self._native()
        return _cancellable(lambda: handle.run(os.fspath(records), with_preference, None), handle.cancel)

    def cancel(self) -> None:
        self._native().cancel()


def log_to(call: Optional[Callable[[LogLevel, str, str], None]], level: LogLevel = LogLevel.INFO) -> None:
    """Gives (level, module, text) of each log line to `call`; None stops that."""
    if call is None:
        _native.set_log_sink(level, None)
        return

    class Sink(_native.LogSink):
        def log(self, level: LogLevel, module: str, text: str) -> None:
            call(level, module, text)

    _native.set_log_sink(level, Sink())
