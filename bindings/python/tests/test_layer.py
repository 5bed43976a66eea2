"""What the layer adds: iterators, asyncio, context managers, callbacks, logs, errors. test_layer.py MODEL"""

import asyncio
import sys
import tempfile
import threading
import time
import typing

import unspoken

GREEDY = dict(max_tokens=8, temperature=0.0)
LONG = dict(max_tokens=1500)


def check_sync(engine):
    chat = engine.chat(system="Be brief.", context_tokens=512)
    heard = []
    reply = chat.send("Hello", on_text=heard.append, **GREEDY)
    assert "".join(heard) == reply.text and len(reply.tokens) <= 8
    assert [m.role for m in chat.messages] == ["user", "assistant"]
    assert reply.prompt_tokens > 0 and reply.seconds >= reply.first_text_seconds

    chat.messages = []
    assert "".join(chat.stream("Hello", **GREEDY)) == reply.text

    # False from a callback stops; what it raises comes through.
    assert chat.send("Go on", on_text=lambda text: False, **LONG).stop == unspoken.StopReason.CANCELLED

    def fails(text):
        raise KeyError("mine")

    try:
        chat.send("Go on", on_text=fails, **LONG)
        raise AssertionError("no error")
    except KeyError as error:
        assert error.args == ("mine",)

    # Leaving the stream stops it.
    start = time.monotonic()
    with chat.stream("Tell me a long story.", **LONG) as stream:
        next(stream)
    assert time.monotonic() - start < 20
    try:
        next(stream)
        raise AssertionError("a closed stream goes on")
    except ValueError:
        pass

    # Other Python threads run while a reply is computed.
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.005):
            ticks.append(1)

    thread = threading.Thread(target=tick)
    thread.start()
    chat.send("Hello", max_tokens=24)
    done.set()
    thread.join()
    assert len(ticks) > 3, len(ticks)


async def check_async(engine):
    chat = engine.chat(context_tokens=1024)
    reply = await chat.asend("Hello", **GREEDY)
    chat.messages = []
    assert "".join([piece async for piece in chat.stream("Hello", **GREEDY)]) == reply.text
    task = asyncio.ensure_future(chat.asend("Tell me a long story.", **LONG))
    await asyncio.sleep(0.2)
    task.cancel()
    start = time.monotonic()
    try:
        await task
        raise AssertionError("not cancelled")
    except asyncio.CancelledError:
        assert time.monotonic() - start < 10
    critique = await engine.critic().acritique("I avoid crowds.", "What to do?", "Step 1: A concert.")
    assert len(critique.steps) == 1


def check_errors(engine):
    for options, error in [
        (dict(top_p=0.0), unspoken.UnspokenError.InvalidArgument),
        (dict(max_tokens=0), unspoken.UnspokenError.InvalidArgument),
    ]:
        try:
            engine.chat().send("x", **options)
            raise AssertionError(options)
        except error as found:
            assert unspoken.error_code(found) == 1
    try:
        engine.chat(context_tokens=64).send("word " * 200)
        raise AssertionError("it fits")
    except unspoken.UnspokenError.ContextFull as full:
        assert full.limit == 64 and full.wanted > 64 and unspoken.error_code(full) == 50
    try:
        unspoken.Engine("/nowhere/at/all.gguf")
        raise AssertionError("loaded")
    except unspoken.UnspokenError.NotFound as missing:
        assert "/nowhere/at/all.gguf" in missing.reason
    try:
        engine.users()
        raise AssertionError("a store")
    except unspoken.UnspokenError.InvalidArgument as error:
        assert "store" in error.reason


RECORD = (
    '{"id": "%s", "topic": "evenings", "preference": "I avoid crowds.", "question": "Where to?", "options": ['
    '{"text": "A concert.", "violates": "a crowd"}, {"text": "A library.", "violates": null}]}\n'
)


def check_evaluation(engine):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(RECORD % "a" + RECORD % "b")
        file.flush()
        seen = []
        evaluation = engine.evaluation()
        report = evaluation.run(file.name, on_progress=lambda done, all: seen.append((done, all)))
        assert report.n == 2 and seen == [(0, 2), (1, 2), (2, 2)], (report, seen)
        try:
            evaluation.run(file.name, on_progress=lambda done, all: done < 1)
            raise AssertionError("not stopped")
        except unspoken.UnspokenError.Cancelled:
            pass
        try:
            evaluation.run(file.name, on_progress=lambda done, all: 1 / 0)
            raise AssertionError("not raised")
        except ZeroDivisionError:
            pass
        assert asyncio.run(evaluation.arun(file.name)).hits == report.hits


def main(model):
    assert all(typing.get_type_hints(m) for m in (unspoken.Chat.send, unspoken.Engine.chat, unspoken.Stream.__next__))
    lines = []
    unspoken.log_to(lambda level, module, text: lines.append((level, module, text)))
    with unspoken.Engine(model, critic=True, device="cpu", threads=2) as engine:
        assert any(module.startswith("unspoken") for _, module, _ in lines), lines
        unspoken.log_to(None)
        assert engine.detokenize(engine.tokenize("Grüße, 世界")) == "Grüße, 世界"
        check_sync(engine)
        asyncio.run(check_async(engine))
        check_errors(engine)
        check_evaluation(engine)
    # A critic that is asked at once writes nothing.
    at_once = unspoken.CriticOptions(reader=unspoken.CriticReader.AT_ONCE)
    with unspoken.Engine(model, critic=at_once, device="cpu", threads=2) as engine:
        critique = engine.critic().critique("I avoid crowds.", "What to do?", "A concert.")
        assert critique.steps[0].critique == "" and -1 <= critique.score <= 1, critique
    print("the Python layer: ok")


main(sys.argv[1])
