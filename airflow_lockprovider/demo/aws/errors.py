"""The one error that the simulator's own answers raise, in the shape that botocore reads."""

from __future__ import annotations

from xml.sax.saxutils import escape


class AwsError(Exception):
    """An AWS error answer: ``code`` is what clients match on."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def as_xml(self) -> bytes:
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message></Error>"
        ).encode()

    def as_json(self) -> dict[str, str]:
        return {"__type": self.code, "message": self.message}
