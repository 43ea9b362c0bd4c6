"""The projects that the daemon serves, and how a request's names lead to definitions.

Projects are frozen and swapped whole, so that whoever holds an old one is undisturbed by a reload.
"""

from __future__ import annotations

from collections.abc import Iterable

from runsd.model.errors import FieldViolation, InvalidRequest, NotFound, NotPossible
from runsd.model.tables import nearest
from runsd.model.targets import Definition, Project, Target


class Catalog:
    def __init__(self, projects: Iterable[Project]) -> None:
        """Raises ValueError when two directories claim one project id."""
        self._projects: dict[str, Project] = {}
        for project in projects:
            other = self._projects.setdefault(project.id, project)
            if other is not project:
                raise ValueError(
                    f"two projects have the id {project.id!r}: {other.directory} and {project.directory}; "
                    "change [project] id in one runs.toml"
                )

    @property
    def projects(self) -> tuple[Project, ...]:
        return tuple(self._projects.values())

    def project(self, id: str) -> Project:
        """An empty id stands for the only project. Raises InvalidRequest or NotFound."""
        if not id:
            return self._only_project()
        if id not in self._projects:
            raise NotFound("project", id, nearest(id, self._projects, "projects"))
        return self._projects[id]

    def definition(self, project_id: str, target: str) -> Definition:
        """A definition that can be run. Raises InvalidRequest, NotFound or NotPossible."""
        definition = self.described(project_id, target)
        if definition.problems:
            problems = "; ".join(str(problem) for problem in definition.problems)
            raise NotPossible("TARGET_BROKEN", f"{target} cannot be run until its definition is mended: {problems}")
        return definition

    def described(self, project_id: str, target: str) -> Definition:
        """A definition with its problems, to show it. Raises InvalidRequest, NotFound or NotPossible."""
        project = self.project(project_id)
        try:
            key = str(Target.parse(target))
        except ValueError as error:
            raise InvalidRequest([FieldViolation("target", str(error))]) from None
        if key not in project.definitions and project.unread:
            raise NotPossible("TARGET_UNREAD", _unread(target, project))
        if key not in project.definitions:
            raise NotFound("target", target, nearest(target, project.definitions, "targets"))
        return project.definitions[key]

    def replace(self, project: Project) -> None:
        """Takes a project that was read anew. Raises NotPossible when it no longer has the same id."""
        if project.id not in self._projects:
            raise NotPossible(
                "PROJECT_RENAMED",
                f"{project.directory} now says that its id is {project.id!r}, under which nothing is served; "
                "restart the daemon for a new id to count",
            )
        self._projects[project.id] = project

    def _only_project(self) -> Project:
        if len(self._projects) == 1:
            return next(iter(self._projects.values()))
        served = ", ".join(sorted(self._projects)) or "none"
        raise InvalidRequest([FieldViolation("project", f"say which project; this daemon serves: {served}")])


def _unread(target: str, project: Project) -> str:
    problems = "; ".join(map(str, project.unread))
    return f"{target} is not among what could be read of the project; mend this and reload: {problems}"
