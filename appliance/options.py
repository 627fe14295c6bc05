"""What an app wants of this box beyond its contract. All of it is off unless somebody asks for it."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from appliance.actions import Protocol

# A name, and no path: without a directory, and not hidden.
_NAME = r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\.wav"
FILE_NAME = rf"^{_NAME}$"
CONSENT = rf"^(none|beep|{_NAME})$"


class TakeMessage(BaseModel):
    """Caller and box are alone: an announcement, a beep, and what the caller says is recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    announcement: Annotated[
        str | None,
        Field(
            pattern=FILE_NAME,
            description="A file in `announcements` of the box's data directory: WAV, one channel of 16 bits, at "
            "8, 16, 24, 32, 44.1 or 48 kHz. Null: only the beep.",
            examples=["closed.wav"],
        ),
    ] = None
    record: Annotated[bool, Field(description="False: hung up after the announcement.")] = True
    limit_s: Annotated[int, Field(ge=1, le=600, description="The longest message.")] = 120


# What both hear before a call is recorded: nothing, a beep, or a file in `announcements`.
Consent = Annotated[str, Field(pattern=CONSENT)]


class RelayRule(BaseModel):
    """What a relay does beyond forwarding. Of a relay's own rule only what is set there counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ring_s: Annotated[int, Field(ge=5, le=120, description="How long the owner's phone rings.")] = 30
    no_answer: Annotated[TakeMessage | None, Field(description="For callers whom the owner does not answer.")] = None
    busy: Annotated[TakeMessage | None, Field(description="When the owner is busy, or rejects.")] = None
    no_line: Annotated[TakeMessage | None, Field(description="When he can't be reached: no free line, no network.")] = (
        None
    )
    paused: Annotated[TakeMessage | None, Field(description="While the relay is paused.")] = None
    consent: Annotated[
        Consent | None,
        Field(description="What both hear before it is recorded. Null: what the country's profile says."),
    ] = None

    def over(self, text: str | None) -> Self:
        """With what a relay's own rule (JSON) sets. Raises: ValueError: written by a newer program."""
        if text is None:
            return self
        own = RelayRule.model_validate_json(text)
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    no_answer: Annotated[
        TakeMessage | None,
        Field(description="For calls whose answer webhook and fallback both fail. Null: such a call is hung up."),
    ] = None

    protocol: Annotated[
        Protocol, Field(description="Whose words its streams have, unless a Stream JSON says so itself.")
    ] = Protocol.SFVOPI

    keep_audio_s: Annotated[
        int,
        Field(
            ge=0,
            le=60,
            description="What the caller says while the stream is not connected is sent when it is, four times as fast "
            "as it was said: the newest so many seconds. 0: none.",
        ),
    ] = 0

    @classmethod
    def of(cls, text: str | None) -> Self:
        """As the store keeps them. Raises: ValueError: written by a newer program."""
        return cls() if text is None else cls.model_validate_json(text)
