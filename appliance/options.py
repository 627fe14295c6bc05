"""What an app wants of this box beyond its contract. All of it is off unless somebody asks for it."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from appliance.actions import Protocol

# A name, and no path: without a directory, and not hidden.
FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\.wav$"


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
