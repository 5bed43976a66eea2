"""Adapts to a user and draws what happened: personalize.py MODEL OUT [STEPS]"""

import sys
import tempfile
from pathlib import Path

import unspoken

PREFERENCE = "I don't feel comfortable sharing my real-time location."
QUESTIONS = [
    "How can my family know that I am safe when I travel alone?",
    "Which app should I use to meet friends in the city?",
    "How do I find my phone when I lose it?",
]


def picture(rewards: list, path: Path) -> None:
    """The mean score of each step's answers, as SVG."""
    width, height, margin = 480, 240, 32
    known = [(i, r) for i, r in enumerate(rewards) if r is not None]
    x = lambda i: margin + i * (width - 2 * margin) / max(len(rewards) - 1, 1)
    y = lambda r: height / 2 - r * (height / 2 - margin)
    dots = "".join(f'<circle cx="{x(i):.1f}" cy="{y(r):.1f}" r="4" fill="#2a6"/>' for i, r in known)
    line = " ".join(f"{x(i):.1f},{y(r):.1f}" for i, r in known)
    labels = "".join(f'<text x="4" y="{y(v) + 4:.1f}" font-size="11">{v:+d}</text>' for v in (-1, 0, 1))
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
        f'<rect width="{width}" height="{height}" fill="white"/>{labels}'
        f'<line x1="{margin}" x2="{width - margin}" y1="{y(0)}" y2="{y(0)}" stroke="#bbb"/>'
        f'<polyline points="{line}" fill="none" stroke="#2a6" stroke-width="2"/>{dots}'
        f'<text x="{margin}" y="16" font-size="12">mean score of the answers, step by step</text></svg>\n'
    )


def main(model: str, out: Path, steps: int = 4) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as store, unspoken.Engine(model, critic=True, store=store) as engine:
        profile = engine.profile("sam")
        profile.state(PREFERENCE)
        ask = lambda: engine.chat(profile=profile).send(QUESTIONS[0], max_tokens=96, temperature=0.0).answer
        print("before:", before := ask())
        job = profile.adaptation(questions=QUESTIONS, steps=steps, group=4, max_tokens=64)
        rewards = []
        for step in job:
            rewards.append(step.mean_reward)
            print(f"step {step.step}: reward {step.mean_reward}, {step.tokens} tokens in {step.seconds:.1f} s")
        outcome = job.conclude()
        print(f"version {outcome.version}, committed: {outcome.committed}")
        print("after:", after := ask())
        picture(rewards, out / "rewards.svg")
        (out / "replies.txt").write_text(f"before: {before}\nafter: {after}\n")
        print("wrote", out / "rewards.svg")


main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
