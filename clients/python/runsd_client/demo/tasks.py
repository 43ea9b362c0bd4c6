"""The tasks of the starter project: one that syncs, one whose artifact is asked, one that is cancelled."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from runsd_client.commands.event_display import EventDisplay
from runsd_client.commands.formats import show_artifacts, show_targets
from runsd_client.demo.documentation import QUESTION, write_documentation
from runsd_client.demo.presenter import ELSEWHERE, Presenter, expect
from runsd_client.values import RunStatus

# Of the countdown, one a second.
_TICKS_BEFORE_CANCELLATION = 3

_CANCEL_REASON = "seen enough"


@dataclass(frozen=True, slots=True)
class TaskShow:
    presenter: Presenter
    project: Path

    def everything(self, directory: Path) -> None:
        """`directory` is for what is made on the way."""
        self._targets()
        self._sync_data()
        self._knowledge_ingest(directory)
        self._cancellation()

    def _targets(self) -> None:
        self.presenter.command("runs", "targets")
        targets = self.presenter.client.targets()
        show_targets(self.presenter.screen, targets)
        expect(not any(target.problems for target in targets), "a definition of the starter project is broken")

    def _sync_data(self) -> None:
        run = self.presenter.run("task:sync-data", config={"batchSize": 100})
        with closing(sqlite3.connect(self.project / run.output["database"])) as db:
            rows = db.execute(f'SELECT count(*) FROM "{run.output["table"]}"').fetchone()[0]
        expect(rows == run.output["rows"] == run.output["inserted"] > 0, f"the database holds {rows} rows")
        self.presenter.remark(f"The SQLite file has {rows} rows. Once more, and there is nothing left to do:")
        again = self.presenter.run("task:sync-data", follow=False, config={"batchSize": 100})
        expect(again.output["unchanged"] == rows, "a second sync changed the database")

    def _knowledge_ingest(self, directory: Path) -> None:
        write_documentation(self.project / "docs" / "python")
        self.presenter.remark("Now the documentation of this Python, which has been written out as Markdown:")
        run = self.presenter.run("task:knowledge-ingest", input={"folder": "docs/python"})
        self.presenter.command("runs", "artifacts", run.run_id, "--download", str(directory))
        show_artifacts(self.presenter.screen, self.presenter.client.artifacts(run.run_id))
        self._ask(self.presenter.client.download_artifact(run.run_id, "knowledge.db", directory))

    def _ask(self, index: Path) -> None:
        query = (
            "SELECT file, snippet(chunks, 2, '«', '»', '…', 12) FROM chunks"
            f" WHERE chunks MATCH '{QUESTION}' ORDER BY rank LIMIT 3"
        )
        self.presenter.command("sqlite3", str(index), literal=f'"{query}"')
        with closing(sqlite3.connect(index)) as db:
            hits = db.execute(query).fetchall()
        for file, passage in hits:
            self.presenter.screen.line((file, "bold"), (" ".join(passage.split()), ""))
        expect(bool(hits), f"the index knows nothing of {QUESTION!r}")

    def _cancellation(self) -> None:
        run_id = self.presenter.start("task:countdown", "--follow", input={"seconds": 60})
        ticks = 0
        with EventDisplay(self.presenter.screen) as display:
            for event in self.presenter.client.follow(run_id):
                display.show(event)
                ticks += event.event_type == "progress"
                if event.event_type == "progress" and ticks == _TICKS_BEFORE_CANCELLATION:
                    display.close()
                    cancel = ("runs", "cancel", run_id, "--reason", _CANCEL_REASON)
                    self.presenter.command(*cancel, literal=ELSEWHERE)
                    self.presenter.client.cancel(run_id, reason=_CANCEL_REASON)
        run = self.presenter.ended(run_id, RunStatus.CANCELLED)
        expect("cleaned up" in run.logs, "the cancelled task did not clean up")
