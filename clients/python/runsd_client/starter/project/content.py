"""A workflow in Python, and the tasks of the same workflow in steps, which is in runs.toml.

The function of a workflow is executed again from its start after every wait and every crash. What is a
step answers from the record then, so what touches the world belongs into a step. It runs in the daemon,
whose working directory is another: paths start from this file.
"""

import re
from pathlib import Path
from typing import Any

from runsd import Context, WorkflowContext, task, workflow

PROJECT = Path(__file__).parent


@workflow(
    "content-pipeline",
    version="1",
    description="Collects what docs say about a topic, has it reviewed, and publishes it.",
    timeout="7d",
    input_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["topic"],
        "properties": {"topic": {"type": "string", "minLength": 1}},
    },
)
async def content_pipeline(ctx: WorkflowContext, input: dict[str, Any]) -> dict[str, Any]:
    """workflow:content-pipeline"""
    topic = input["topic"]
    sections = await ctx.step("research", find_sections, topic)
    drafts = await ctx.map("draft", write_draft, sections, concurrency=4)
    index = await ctx.run("task:knowledge-ingest")
    approval = await ctx.wait_for_approval(
        "editor-review", message=f"Publish {len(drafts)} sections on {topic}?", timeout="24h"
    )
    published = await ctx.step("publish", publish, topic, drafts, approval.by, retry=2)
    return {**published, "indexed": index["chunks"]}


def find_sections(topic: str) -> list[dict[str, str]]:
    """The sections of `docs/*.md` whose heading or text has the topic."""
    found = []
    for path in sorted(PROJECT.glob("docs/*.md")):
        for section in re.split(r"^(?=#+ )", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            heading, _, text = section.partition("\n")
            if topic.lower() in section.lower() and text.strip():
                found.append({"file": path.name, "heading": heading.lstrip("# "), "text": text.strip()})
    if not found:
        raise ValueError(f"nothing in docs mentions {topic!r}; try a word of runsd's, such as attempt or event")
    return found


def write_draft(section: dict[str, str]) -> dict[str, str]:
    """Its first paragraph, with where it comes from."""
    paragraph = " ".join(section["text"].split("\n\n")[0].split())
    return {"heading": section["heading"], "draft": f"{paragraph} ({section['file']})"}


def publish(topic: str, drafts: list[dict[str, str]], editor: str) -> dict[str, object]:
    """Writes `published/<topic>.md`. A step may be executed again after a crash, so it writes the whole file."""
    name = re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-") or "topic"
    file = PROJECT / "published" / f"{name}.md"
    lines = [f"# {topic}", "", *(f"**{draft['heading']}**: {draft['draft']}\n" for draft in drafts)]
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join([*lines, f"Released by {editor or 'the editor'}.", ""]), encoding="utf-8")
    return {"file": f"published/{file.name}", "sections": len(drafts)}


@task("content/research", description="The sections of docs on a topic.")
def research_task(ctx: Context) -> list[dict[str, str]]:
    return find_sections(ctx.input["topic"])


@task("content/draft", description="A draft of one section.")
def draft_task(ctx: Context) -> dict[str, str]:
    return write_draft(ctx.input)


@task("content/publish", description="Writes what was drafted to published/.")
def publish_task(ctx: Context) -> dict[str, object]:
    return publish(ctx.input["topic"], ctx.input["drafts"], ctx.input["editor"])
