"""`storage`: how the store of an input or output is reached, where the environment does not say it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pipeline.config.models.section import Section
from pipeline.config.models.values import Text
from pipeline.storage import StoreOptions


def _check_address(address: str) -> str:
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        hint = {"suggestion": "such as `http://127.0.0.1:9000`"}
        raise PydanticCustomError("address", "the address of a server begins with http:// or https://", hint)
    if parts.username is not None:
        hint = {"suggestion": "set them in the environment, as for the store's own tools"}
        raise PydanticCustomError("address", "credentials do not belong in an address", hint)
    return address


class StorageConfig(Section):
    """How a store is reached; what is left out is as the store's own tools find it."""

    endpoint_url: Annotated[Text, AfterValidator(_check_address)] | None = Field(
        default=None,
        description="The address of a server that speaks the store's language; without it, the cloud's own, or what "
        "the environment says (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL).",
        examples=["http://127.0.0.1:9000"],
    )
    region: Text | None = Field(
        default=None, description="S3's region; without it, as the environment says.", examples=["eu-central-1"]
    )
    anonymous: bool = Field(default=False, description="Whether no credentials are sent: for what anybody may read.")

    @property
    def options(self) -> StoreOptions:
        """The same, as the storage takes it."""
        return StoreOptions(self.endpoint_url, self.region, self.anonymous)
