"""Parser for the .cfg files of Darknet."""

from dataclasses import dataclass


class DarknetError(Exception):
    """A .cfg or .weights file cannot be used. The message has the reason."""


@dataclass(frozen=True)
class Section:
    """A section of a .cfg file: name and settings."""

    name: str
    settings: dict[str, str]

    def integer(self, key: str, default: int | None = None, *, at_least: int = 0) -> int:
        """Return an integer setting. Raises DarknetError if it is missing, not an integer or less
        than `at_least`."""
        value = self.settings.get(key, default)
        if value is None:
            raise DarknetError(f"[{self.name}] has no {key}")
        try:
            number = int(value)
        except ValueError as error:
            raise DarknetError(
                f"[{self.name}] {key} must be a whole number, got {value}"
            ) from error
        if number < at_least:
            raise DarknetError(f"[{self.name}] {key} must be at least {at_least}, got {number}")
        return number

    def integers(self, key: str) -> list[int]:
        """Return a list of integers. Raises DarknetError if it is missing, empty or not a list of
        integers."""
        try:
            integers = [int(each) for each in self.settings[key].split(",") if each.strip()]
        except (KeyError, ValueError) as error:
            raise DarknetError(f"[{self.name}] {key} must be a list of whole numbers") from error
        if not integers:
            raise DarknetError(f"[{self.name}] {key} must not be empty")
        return integers

    def numbers(self, key: str) -> list[float]:
        """Return a list of numbers. Raises DarknetError if it is missing or not a list of
        numbers."""
        try:
            return [float(each) for each in self.settings[key].split(",") if each.strip()]
        except (KeyError, ValueError) as error:
            raise DarknetError(f"[{self.name}] {key} must be a list of numbers") from error


def parse(text: str) -> list[Section]:
    """Parse the sections of a .cfg file. Raises DarknetError."""
    sections: list[Section] = []
    lines = (line.split("#", 1)[0].split(";", 1)[0].strip() for line in text.splitlines())
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1], {}))
        elif "=" in line and sections:
            key, value = line.split("=", 1)
            sections[-1].settings[key.strip()] = value.strip()
        else:
            raise DarknetError(f"line {number} is neither a section nor a setting")
    if not sections or sections[0].name not in ("net", "network"):
        raise DarknetError("the first section must be [net]")
    return sections
