"""The scenario of tests/scenario.md: scenario.py MODEL STORE."""

import sys
import threading

import unspoken


def say(key, value):
    print(f"{key}: {str(value).lower() if isinstance(value, bool) else value}")


def ids(tokens):
    return " ".join(map(str, tokens))


def main(model, store):
    options = dict(critic=True, device="cpu", threads=2, store=store)
    greedy = dict(max_tokens=12, temperature=0.0)
    with unspoken.Engine(model, **options) as engine:
        chat = engine.chat()
        base = chat.send("Name three colours.", **greedy)
        say("base", ids(base.tokens))

        chat.messages = []
        with chat.stream("Name three colours.", **greedy) as stream:
            text = "".join(stream)
            say("stream", text == base.text and stream.reply().tokens == base.tokens)

        long = engine.chat()
        timer = threading.Timer(0.3, long.cancel)
        timer.start()
        cancelled = long.send("Tell me a long story.", max_tokens=1500)
        timer.join()
        say("cancelled", cancelled.stop == unspoken.StopReason.CANCELLED and len(cancelled.tokens) < 1500)

        critique = engine.critic().critique(
            "I avoid crowds.", "What should I do tonight?", "Step 1: Go to a big concert."
        )
        say("critique", f"{len(critique.steps)} {critique.score:.4f}")

        profile = engine.profile("sam")
        profile.state("I avoid crowds and noise.")
        say("preferences", len(profile.preferences))
        job = profile.adaptation(
            questions=["What should I do tonight?", "Where could we have dinner?"],
            steps=2,
            group=2,
            max_tokens=24,
            lr=0.01,
            rank=4,
        )
        say("steps", len(list(job)))
        outcome = job.conclude()
        say("version", f"{outcome.version} {str(outcome.committed).lower()}")
        adapted = engine.chat(profile=profile).send("What should I do tonight?", **greedy).tokens
        say("adapted", ids(adapted))
        try:
            engine.chat().send("x", top_p=0.0)
            say("error", "none")
        except unspoken.UnspokenError.InvalidArgument as error:
            say("error", unspoken.error_code(error))
        del chat, long, profile, job

    with unspoken.Engine(model, **options) as engine:
        again = engine.chat(profile=engine.profile("sam")).send("What should I do tonight?", **greedy)
        say("reloaded", again.tokens == adapted)
        say("base_again", ids(engine.chat().send("Name three colours.", **greedy).tokens))
        engine.delete_user("sam")
        say("users", len(engine.users()))


main(*sys.argv[1:])
