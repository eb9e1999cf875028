"""What an option says about itself: meaning, unit, bounds, and which values it accepts.

An option is one annotated field of a section in `p2ptui.config`. Everything that
talks about options (checking, printing, the documentation) reads the same annotation,
so that none of them can tell a different story.
"""

import reprlib
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from p2ptui.errors import ConfigError
from p2ptui.nearest import nearest
from p2ptui.secure.secret import looks_like_key
from p2ptui.text import about as said_about
from p2ptui.wire.address import Address, NoInterfaceError, parse_address, parse_target
from p2ptui.wire.joined import parse_joined_target

# Bounds are generous: they refuse nonsense, and what would exhaust a machine.
COUNT = 1_000_000
DAY_S = 86_400
HOUR_MS = 3_600_000
GIB = 1 << 30

Rule: TypeAlias = Callable[..., str]
"""How options go together: a function that returns what is wrong in one line, or nothing. The first
paragraph of its docstring states the rule in the documentation."""

Entry: TypeAlias = tuple[str, str, object]
"""One thing that a source gives: the name as written, the known path, the value."""

Named: TypeAlias = dict[str, tuple[str, Any]]
"""What a source sets, by option path: the name as written, and the value."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Options that belong together."""


class UnfitError(ValueError):
    """A text does not have its form, and the message says why: for people, no secret in it."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a text.

    Args:
        text: The form for people, after "must be".
        check: Raises `ValueError` for a text that does not have the form; an `UnfitError` adds why.
    """

    text: str
    check: Callable[[str], object]


def address_form(
    text: str,
    parse: Callable[[str], Address] = parse_address,
    *,
    is_remote: bool = False,
    may_be_empty: bool = False,
) -> Form:
    """The form of an address, which says what is wrong with one as `parse` does.

    Args:
        text: The form for people.
        parse: Raises `ValueError`, with the reason.
        is_remote: Whether it is connected to, which port 0 is not.
        may_be_empty: Whether there may be none.
    """

    def check(address: str) -> None:
        if may_be_empty and not address:
            return
        try:
            port = parse(address)[1]
        except NoInterfaceError:
            raise
        except ValueError as error:
            raise UnfitError(str(error)) from None
        if is_remote and port == 0:
            raise UnfitError("port 0 is no port to connect to")

    return Form(text, check)


LISTEN_ADDRESS = address_form("HOST:PORT or [IPV6]:PORT; port 0 takes any free one")
REMOTE_ADDRESS = address_form("HOST:PORT or [IPV6]:PORT", parse_target, is_remote=True)
JOINED_ADDRESS = address_form(
    "HOST:PORT or [IPV6]:PORT, with or without #ID", parse_joined_target, is_remote=True
)


@dataclass(frozen=True, slots=True)
class About:
    """The annotation of an option's field."""

    meaning: str
    """What it does, for people."""
    unit: str = ""
    """What a number counts; empty for texts and switches."""
    ge: float | None = None
    """The least number."""
    le: float | None = None
    """The greatest number; with `ge` it keeps NaN and the infinities out."""
    max_length: int | None = None
    """Characters of a text, or entries of a list or table, at most."""
    form: Form | None = None
    """The form of a text, or of each text in a list."""
    shown: Callable[[str], str] = str
    """What people may see of a text, or of each text in a list, that may hold a secret."""
    aliases: tuple[str, ...] = ()
    """Other names in existing files: in the same section, or `section.name` elsewhere."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option: where it is, its type and default, and what its annotation says."""

    path: str
    """Section and name: `server.address`."""
    type: Any
    """`int`, `tuple[str, ...]`, `Literal[...]`."""
    default: Any
    about: About

    @property
    def section(self) -> str:
        """Its section: `server`."""
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        """Its key there: `max_connections`."""
        return self.path.rpartition(".")[2]

    @property
    def choices(self) -> tuple[str, ...]:
        """The only values there are, for an option whose values are a few names."""
        is_literal = typing.get_origin(self.type) is typing.Literal
        return typing.get_args(self.type) if is_literal else ()

    @property
    def bounds(self) -> str:
        """The values that it accepts, for people: "a whole number from 1 to 10"."""
        about = self.about
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.type is bool:
            return "true or false"
        if self.type is str and about.form:
            return about.form.text
        if self.type is str:
            return f"text of at most {about.max_length} characters"
        if self.type == tuple[str, ...]:
            each = f", each {about.form.text}" if about.form else ""
            return f"a list of at most {about.max_length} texts{each}"
        if self.type == dict[str, str]:
            return f"a table of at most {about.max_length} texts"
        number = {int: "a whole number", float: "a number"}.get(self.type, "two whole numbers")
        return f"{number} from {about.ge:_} to {about.le:_}"

    def accept(self, value: object, complaint: str) -> Any:
        """Check a value; nothing is bent to fit, but an integer is also a number.

        Args:
            value: What was given.
            complaint: What a complaint begins with: the source, and the name as written.

        Returns:
            The value in the option's own type (a list becomes a tuple).

        Raises:
            ConfigError: The wrong type, or out of bounds.
        """
        try:
            accepted = msgspec.convert(value, self.type)
            self._require_bounds(accepted)
        except NoInterfaceError as error:
            raise ConfigError(f"{complaint} = {_shortened(value)}: {error}") from None
        except ValueError as error:
            unit = f" ({self.about.unit})" if self.about.unit else ""
            why = f"; {error}" if isinstance(error, UnfitError) else ""
            shown = _shortened(self.shown(value))
            if (
                isinstance(error, UnicodeEncodeError)
                and "\udc80" <= error.object[error.start] <= "\udcff"
            ):
                shown += " (not UTF-8)"  # what Python makes of such a byte
            raise ConfigError(f"{complaint} = {shown}: must be {self.bounds}{unit}{why}") from None
        return accepted

    def shown(self, value: Any) -> Any:
        """A value as people may see it: a secret in it is masked."""
        if isinstance(value, str):
            return self.about.shown(value)
        if isinstance(value, list | tuple):
            return type(value)(map(self.shown, value))
        return value

    def value_in(self, config: object) -> Any:
        """This option's value in a configuration."""
        return attrgetter(self.path)(config)

    def _require_bounds(self, accepted: Any) -> None:
        about = self.about
        if about.max_length is not None and len(accepted) > about.max_length:
            raise ValueError
        parts = _parts(accepted)
        for part in parts:
            if isinstance(part, str):
                part.encode()  # a lone surrogate fits neither a file nor the wire
                self._require_form(part, is_one_of_several=len(parts) > 1)
            elif about.ge is not None and about.le is not None and not about.ge <= part <= about.le:
                raise ValueError

    def _require_form(self, text: str, *, is_one_of_several: bool) -> None:
        if self.about.form is None:
            return
        try:
            self.about.form.check(text)
        except UnfitError as error:
            if not is_one_of_several:
                raise
            raise UnfitError(said_about(_shortened(self.shown(text)), str(error))) from None


@dataclass(frozen=True, slots=True)
class Shorthand:
    """A key that existing files use for other options: `port_range` for its two ends."""

    option: Option
    """Checks what was written; it is no option of the configuration itself."""
    expand: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]
    """From its value, and the options given beside it, to option values by path."""


class OptionTable:
    """All options, found by any name that a file may use.

    Args:
        sections: The sections by path. The options of the first one may also be
            written without a section, as the flat files of deployed servers do.
        shorthands: Keys that stand for other options.
    """

    def __init__(
        self, sections: Mapping[str, type[Section]], shorthands: Iterable[Shorthand]
    ) -> None:
        self.sections = sections
        self.options = [o for path, section in sections.items() for o in options_of(section, path)]
        self.by_path: dict[str, Option | Shorthand] = {o.path: o for o in self.options}
        """Every name with its section, aliases and shorthands included."""
        for each in self.options:
            for alias in each.about.aliases:
                self.by_path[alias if "." in alias else f"{each.section}.{alias}"] = each
        self.by_path |= {shorthand.option.path: shorthand for shorthand in shorthands}
        first = next(iter(sections))
        self._flat = {name: f"{first}.{name}" for name in self._names_in(first)}

    def path_of(self, name: str) -> str:
        """The path of the option, or section, that a bare name means.

        Raises:
            ConfigError: Nothing has that name, or several options have it.
        """
        if name in self.sections or name in self.by_path:
            return name
        if name in self._flat:
            return self._flat[name]
        paths = [path for path in self.by_path if path.rpartition(".")[2] == name]
        if not paths:
            raise ConfigError(f"unknown option {name!r}; {self._nearest(name, '')}")
        if len(paths) > 1:
            raise ConfigError(f"{name!r} could be any of {', '.join(paths)}: give the section")
        return paths[0]

    def settle(self, tree: Mapping[str, object], source: str) -> dict[str, Any]:
        """Check what one source gives, and bring it to the options' own paths.

        Args:
            tree: Sections, flat keys and full paths, in any mixture.
            source: What a complaint begins with: "config.toml: ", or nothing.

        Returns:
            Accepted values by option path.

        Raises:
            ConfigError: An unknown key, a value that is not accepted, or an option
                that is given twice with different values.
        """
        return {path: value for path, (_, value) in self.settle_named(tree, source).items()}

    def settle_named(self, tree: Mapping[str, object], source: str) -> Named:
        """Like `settle`; each value comes with the name under which it was written."""
        return self.settle_entries(self._entries(tree, source, ""), source)

    def settle_entries(self, entries: Iterable[Entry], source: str) -> Named:
        """The same, of names that are already known to be right."""
        settled: dict[str, Any] = {}
        written_as: dict[str, str] = {}
        # Shorthands last: they may complete what is given beside them.
        ordered = sorted(entries, key=lambda entry: isinstance(self.by_path[entry[1]], Shorthand))
        for written, path, value in ordered:
            known = self.by_path[path]
            _refuse_key(source, written, value)
            complaint = f"{source}{written}"
            if isinstance(known, Shorthand):
                accepted = known.expand(known.option.accept(value, complaint), settled)
            else:
                accepted = {known.path: known.accept(value, complaint)}
            for target, part in accepted.items():
                if settled.setdefault(target, part) != part:
                    raise ConfigError(
                        f"{source}{written_as[target]} and {written} mean the same option, "
                        "and are given different values"
                    )
                written_as[target] = written
        return {path: (written_as[path], value) for path, value in settled.items()}

    def _entries(self, tree: Mapping[str, object], source: str, section: str) -> Iterable[Entry]:
        for key, value in tree.items():
            path = f"{section}.{key}" if section else self._flat.get(key, key)
            written = f"{section}.{key}" if section else key
            if path in self.sections:
                if not isinstance(value, Mapping):
                    _refuse_key(source, written, value)
                    raise ConfigError(
                        f"{source}{written} = {_shortened(value)}: must be a section of options"
                    )
                yield from self._entries(value, source, path)
            elif path in self.by_path:
                yield written, path, value
            else:
                _refuse_key(source, "an unknown option", key)
                place = f" in [{section}]" if section else ""
                raise ConfigError(
                    f"{source}unknown key {key!r}{place}; {self._nearest(key, section)}"
                )

    def _names_in(self, section: str) -> list[str]:
        split = [path.rpartition(".") for path in (*self.by_path, *self.sections)]
        return [name for where, _, name in split if where == section]

    def _nearest(self, key: str, section: str) -> str:
        """A suggestion: the known key that a mistaken one resembles most."""
        split = [path.rpartition(".") for path in self.by_path]
        everywhere = {name: f"{name!r} in [{where}]" for where, _, name in split}
        here = {name: repr(name) for name in self._names_in(section)}
        if not section:
            here |= {name: repr(name) for name in self._flat}
        if key in everywhere:
            return f"did you mean {everywhere[key]}?"
        for known in (here, everywhere):
            if near := nearest(key, known):
                return f"did you mean {known[near]}?"
        import difflib  # few options are mistyped

        return f"the nearest known key is {difflib.get_close_matches(key, here, 1, 0.0)[0]!r}"


def require(rules: Iterable[Rule], *given: object) -> None:
    """Refuse options that do not go together.

    Args:
        rules: What must hold.
        given: What each rule looks at.

    Raises:
        ConfigError: The first rule that does not hold; the text names the keys.
    """
    for rule in rules:
        if wrong := rule(*given):
            raise ConfigError(wrong)


def _refuse_key(source: str, written: str, value: object) -> None:
    """No complaint and no list of options repeats a key: it is given to none."""
    if _holds_key(value):
        raise ConfigError(
            f"{source}{written} was given a key (not repeated here), and no option takes one:"
            " security.network_key_file takes the name of a file that holds it"
        )


def _holds_key(value: object, depth: int = 3) -> bool:
    """Whether a key is anywhere in a value where a complaint about it would show that."""
    if isinstance(value, str):
        return looks_like_key(value)
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if not isinstance(value, list | tuple) or not depth:
        return False
    return any(_holds_key(part, depth - 1) for part in value)


def options_of(section: type[Section], path: str) -> list[Option]:
    """The options of one section, in the order in which they are written."""
    hints = typing.get_type_hints(section, include_extras=True)
    options = []
    for field in msgspec.structs.fields(section):
        if typing.get_origin(hints[field.name]) is Annotated:  # otherwise a section in a section
            plain, about = typing.get_args(hints[field.name])
            default = field.default
            if field.default_factory is not msgspec.NODEFAULT:  # a table, which nobody may share
                default = field.default_factory()
            options.append(Option(f"{path}.{field.name}", plain, default, about))
    return options


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, tuple) else (value,)


class _Short(reprlib.Repr):
    """Values in error messages."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = 80

    def repr_int(self, x: int, level: int) -> str:
        """Of thousands of digits Python prints none: it raises, or from 3.14 on says so."""
        return "a huge number" if x.bit_length() > _HUGE_BITS else super().repr_int(x, level)


_HUGE_BITS: Final = 10_000

_shortened = _Short().repr
