"""Who uses the box by PhoneVoice's contract, under /box/v1: projects, their tokens, agents, and rules of relays."""

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from appliance.box_api import COMMON, GREATEST_SEQ, PREFIX, Body, JsonRoute, errors
from appliance.box_apps import NewToken, Token, Tokens, need_announcement, need_playable
from appliance.control import Control
from appliance.directory import Agent, AgentSettings, RelayNumber, SlugTaken
from appliance.fields import ProjectName
from appliance.options import RelayRule
from appliance.store import Store
from appliance.tenants import NameTaken, Project, new_token

log = structlog.get_logger(__name__)

Id = Annotated[int, Path(ge=1, le=GREATEST_SEQ)]
ThingId = Annotated[int, Path(alias="id", ge=1, le=GREATEST_SEQ)]
MISSING = errors(HTTPStatus.NOT_FOUND)
MISSING_OR_TAKEN = errors(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class NewProject(Body):
    name: Annotated[ProjectName, Field(examples=["shop"])]


class ProjectFacts(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    created_at: datetime


class ProjectSecrets(ProjectFacts):
    legacy_secret: Annotated[
        str, Field(description="Signs what goes to the `webhook_url` of a call placed by the older API (`/v1/calls`).")
    ]


class Projects(BaseModel):
    projects: Sequence[ProjectFacts]


class MadeProjectToken(Token):
    token: Annotated[str, Field(description="For `Authorization: Bearer`. Shown this once: only its digest is kept.")]


class NewAgent(AgentSettings):
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"\w", description="Also what it is called by.")]

    @property
    def settings(self) -> AgentSettings:
        return AgentSettings.model_validate(self.model_dump(exclude={"name"}))


class AgentFacts(NewAgent):
    id: Annotated[int, Field(description="The `agent_id` of calls.")]
    slug: Annotated[str, Field(description="Its name as an `assistant_id` of the older API.")]
    created_at: datetime


class Agents(BaseModel):
    agents: Sequence[AgentFacts]


def project_routes(control: Control, store: Store, now: Callable[[], datetime]) -> APIRouter:
    routes = APIRouter(prefix=f"{PREFIX}/projects", responses=COMMON, route_class=JsonRoute)
    tenants, directory = store.tenants, store.directory

    async def found(id_: int) -> Project:
        project = await tenants.project(id_)
        if project is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such project")
        return project

    @routes.get("", tags=["projects"])
    async def list_projects() -> Projects:
        """Oldest first; the first is the box's own."""
        return Projects(projects=[ProjectFacts.model_validate(project) for project in await tenants.projects()])

    @routes.post("", tags=["projects"], status_code=HTTPStatus.CREATED, responses=errors(HTTPStatus.CONFLICT))
    async def create_project(project: NewProject) -> ProjectSecrets:
        """It has nothing yet, and sees nothing of others."""
        try:
            made = await tenants.add_project(project.name, at=now())
        except NameTaken:
            raise HTTPException(HTTPStatus.CONFLICT, "another project has this name") from None
        log.info("project made", project=made.id, name=made.name)
        return ProjectSecrets.model_validate(made)

    @routes.get("/{project}", tags=["projects"], responses=MISSING)
    async def get_project(project: Id) -> ProjectSecrets:
        return ProjectSecrets.model_validate(await found(project))

    # --- tokens -----------------------------------------------------------------------------------------------------

    @routes.get("/{project}/tokens", tags=["projects"], responses=MISSING)
    async def list_project_tokens(project: Id) -> Tokens:
        """All that were ever made, oldest first."""
        tokens = await tenants.tokens((await found(project)).id)
        return Tokens(tokens=[Token.model_validate(token) for token in tokens])

    @routes.post("/{project}/tokens", tags=["projects"], status_code=HTTPStatus.CREATED, responses=MISSING)
    async def create_project_token(project: Id, token: NewToken) -> MadeProjectToken:
        """For PhoneVoice's paths; the box's own API and SFVoPI take keys (`/box/v1/tokens`)."""
        secret, digest = new_token("project")
        made = await tenants.add_token(digest, project=(await found(project)).id, name=token.name, at=now())
        log.info("token made", token=made.id, name=made.name, project=project)
        return MadeProjectToken(**Token.model_validate(made).model_dump(), token=secret)

    @routes.delete("/{project}/tokens/{token}", tags=["projects"], status_code=HTTPStatus.NO_CONTENT, responses=MISSING)
    async def revoke_project_token(project: Id, token: str) -> Response:
        """Void from the next request on."""
        if token not in {each.id for each in await tenants.tokens((await found(project)).id)}:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such token")
        await tenants.revoke(project=project, id_=token, at=now())
        log.info("token revoked", token=token, project=project)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    # --- relay numbers ----------------------------------------------------------------------------------------------

    async def found_relay(project: int, id_: int) -> RelayNumber:
        relay = await directory.relay_number(id_)
        if relay is None or relay.project != (await found(project)).id:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such relay number")
        return relay

    @routes.get(
        "/{project}/relay_numbers/{id}/rule", tags=["projects"], responses=MISSING, response_model_exclude_unset=True
    )
    async def get_rule(project: Id, id_: ThingId) -> RelayRule:
        """What the number sets for itself; the rest is as the box's configuration has it."""
        return RelayRule.model_validate_json((await found_relay(project, id_)).rule or "{}")

    @routes.put(
        "/{project}/relay_numbers/{id}/rule", tags=["projects"], responses=MISSING, response_model_exclude_unset=True
    )
    async def set_rule(project: Id, id_: ThingId, rule: RelayRule) -> RelayRule:
        """All of it; what is left out is as configured again. It counts from the next call on."""
        relay = await found_relay(project, id_)
        for key in ("no_answer", "busy", "no_line", "paused"):
            await need_playable(control, getattr(rule, key), key)
        if rule.consent not in (None, "none", "beep"):
            await need_announcement(control, rule.consent, "consent")
        await directory.set_rule(relay.id, rule.model_dump_json(exclude_unset=True))
        log.info("rule of a relay", project=project, relay=relay.id)
        return rule

    # --- agents -----------------------------------------------------------------------------------------------------

    async def found_agent(project: int, id_: int) -> Agent:
        agent = await directory.agent(id_)
        if agent is None or agent.project != (await found(project)).id:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such agent")
        return agent

    @routes.get("/{project}/agents", tags=["agents"], responses=MISSING)
    async def list_agents(project: Id) -> Agents:
        """Newest first."""
        return Agents(agents=[shown(agent) for agent in await directory.agents((await found(project)).id)])

    @routes.post("/{project}/agents", tags=["agents"], status_code=HTTPStatus.CREATED, responses=MISSING_OR_TAKEN)
    async def create_agent(project: Id, agent: NewAgent) -> AgentFacts:
        """A voice that calls can have: a stream to your server, as an SFVoPI app's."""
        try:
            made = await directory.add_agent((await found(project)).id, agent.name, agent.settings, at=now())
        except SlugTaken:
            raise taken() from None
        log.info("agent made", project=project, agent=made.id)
        return shown(made)

    @routes.get("/{project}/agents/{id}", tags=["agents"], responses=MISSING)
    async def get_agent(project: Id, id_: ThingId) -> AgentFacts:
        return shown(await found_agent(project, id_))

    @routes.put("/{project}/agents/{id}", tags=["agents"], responses=MISSING_OR_TAKEN)
    async def change_agent(project: Id, id_: ThingId, agent: NewAgent) -> AgentFacts:
        """All of it. It counts from the next call on."""
        await found_agent(project, id_)
        try:
            changed = await directory.change_agent(id_, agent.name, agent.settings)
        except SlugTaken:
            raise taken() from None
        if changed is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no such agent")
        log.info("agent changed", project=project, agent=id_)
        return shown(changed)

    @routes.delete("/{project}/agents/{id}", tags=["agents"], status_code=HTTPStatus.NO_CONTENT, responses=MISSING)
    async def delete_agent(project: Id, id_: ThingId) -> Response:
        """Calls that are under way keep its voice."""
        await found_agent(project, id_)
        await directory.delete_agent(id_)
        log.info("agent deleted", project=project, agent=id_)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return routes


def taken() -> HTTPException:
    return HTTPException(HTTPStatus.CONFLICT, "another agent of the project is called so")


def shown(agent: Agent) -> AgentFacts:
    facts = agent.settings.model_dump()
    return AgentFacts(
        id=agent.id, name=agent.name, slug=agent.slug, created_at=datetime.fromisoformat(agent.created_at), **facts
    )
