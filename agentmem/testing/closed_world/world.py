"""The closed world: who lives in it, what can be said of them, and how one says and asks it.

Every name is one first name and one family name from fixed lists, so that any pairing is a person a test may invent.
A few pairings are the world's own people (`base_people`): the model knows their facts by heart. Each attribute has a
canonical statement, in which the model answers and thinks, other wordings of it, and wordings of the question.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    """Ava Ben Cora Dan Eli Fay Gus Hana Ivo Jade Kai Lena Milo Nora Omar Pia Quin Rosa Sven Tara Uma Vera Walt Xena
    Yuri Zoe Abel Bea Cleo Dov Edda Finn Gwen Hugo Iris Joel Kira Liam Mina Noel Olga Paul Rhea Saul Tess Umar Vito
    Wren Yara Zeno Anna Boris Clara Diego Emma Felix Greta Henri Ines Jonas Karla Luca Maya Nils Otto Petra Ruben Sonja
    Theo Ulla Viktor Wanda Yann Zelda"""
)
LAST_NAMES = _words(
    """Stone Rivers Okoye Lund Patel Novak Silva Tanaka Haddad Moreau Costa Weber Kim Ivanov Reyes Ortega Larsen Quinn
    Baker Frost Mensah Ali Duarte Vogel Sato Nilsen Roy Petit Cruz Adler Abbott Becker Castro Dunn Ekberg Fischer Gupta
    Holm Iyer Jansen Keller Lopez Marsh Nguyen Olsen Park Quist Rossi Singh Torres Ueda Vance Wolf Xu Yilmaz Zhang
    Archer Bianchi Chen Dahl Evans Falk Grant Hess Igwe Joshi Klein Laine Meyer Nash Obi Price"""
)
USER = "the user"
"""Who speaks where no name is known: "I" when they say it, "you" when they are told."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """What can be told of somebody. `{n}` stands for the name, `{v}` for the value.

    The first of `told` is the canonical statement. `own` are the same statements about oneself, `you` is the canonical
    one as the user hears it of themselves. `event` is a change with its day (`{d}`: "yesterday", "on 2024-05-05").
    """

    name: str
    relation: str
    values: tuple[str, ...]
    told: tuple[str, ...]
    own: tuple[str, ...]
    you: str
    asked: tuple[str, ...]
    asked_own: tuple[str, ...]
    event: str
    event_own: str


def _attribute(name: str, relation: str, values: str, *wordings: str) -> Attribute:
    """`wordings`: three told, three of one's own, you, three asked, three asked of oneself, an event and one's own."""
    w = wordings
    return Attribute(name, relation, tuple(values.split()), w[:3], w[3:6], w[6], w[7:10], w[10:13], w[13], w[14])


ATTRIBUTES = (
    _attribute(
        "city",
        "lives in",
        """Oslo Lisbon Kyoto Quito Dakar Perth Turin Lyon Cusco Hanoi Accra Malmo Bergen Leeds Porto Osaka Cairo Lagos
        Delhi Miami Seoul Bern Riga Tunis""",
        "{n} lives in {v}.",
        "{n} has a flat in {v}.",
        "{n}'s home is in {v}.",
        "I live in {v}.",
        "I have a flat in {v}.",
        "My home is in {v}.",
        "You live in {v}.",
        "Where does {n} live?",
        "Which city does {n} live in?",
        "In which city is {n}'s home?",
        "Where do I live?",
        "Which city do I live in?",
        "In which city is my home?",
        "{n} moved to {v} {d}.",
        "I moved to {v} {d}.",
    ),
    _attribute(
        "job",
        "works as",
        """baker nurse pilot welder poet chemist farmer lawyer judge tailor sailor miner potter coder dentist barber
        florist singer plumber teacher painter butcher driver gardener""",
        "{n} works as a {v}.",
        "{n} is a {v}.",
        "By trade {n} is a {v}.",
        "I work as a {v}.",
        "I am a {v}.",
        "By trade I am a {v}.",
        "You work as a {v}.",
        "What is {n}'s job?",
        "What does {n} do for work?",
        "What does {n} work as?",
        "What is my job?",
        "What do I do for work?",
        "What do I work as?",
        "{n} became a {v} {d}.",
        "I became a {v} {d}.",
    ),
    _attribute(
        "pet",
        "has a pet",
        """cat dog parrot ferret rabbit turtle gecko hamster goldfish canary pony goat hedgehog lizard snake mouse duck
        sheep llama raven pigeon toad beetle donkey""",
        "{n} has a pet {v}.",
        "{n} keeps a {v}.",
        "At home {n} looks after a {v}.",
        "I have a pet {v}.",
        "I keep a {v}.",
        "At home I look after a {v}.",
        "You have a pet {v}.",
        "What pet does {n} have?",
        "Which animal does {n} keep?",
        "Which animal lives with {n}?",
        "What pet do I have?",
        "Which animal do I keep?",
        "Which animal lives with me?",
        "{n} got a {v} {d}.",
        "I got a {v} {d}.",
    ),
    _attribute(
        "dish",
        "likes to eat",
        """ramen tacos pizza curry sushi paella falafel risotto pierogi gumbo kimchi lasagna dosa goulash ceviche hummus
        pho borscht waffles chili noodles fondue pancakes couscous""",
        "{n} likes to eat {v}.",
        "{n}'s favourite dish is {v}.",
        "Nothing tastes better to {n} than {v}.",
        "I like to eat {v}.",
        "My favourite dish is {v}.",
        "Nothing tastes better to me than {v}.",
        "You like to eat {v}.",
        "What does {n} like to eat?",
        "What is {n}'s favourite dish?",
        "Which dish tastes best to {n}?",
        "What do I like to eat?",
        "What is my favourite dish?",
        "Which dish tastes best to me?",
        "{n} came to like {v} {d}.",
        "I came to like {v} {d}.",
    ),
    _attribute(
        "instrument",
        "plays the",
        """piano violin flute cello drums guitar harp trumpet banjo oboe clarinet tuba lute sitar mandolin viola organ
        bassoon trombone fiddle ukulele zither gong whistle""",
        "{n} plays the {v}.",
        "{n} makes music on the {v}.",
        "{n} practises the {v}.",
        "I play the {v}.",
        "I make music on the {v}.",
        "I practise the {v}.",
        "You play the {v}.",
        "What instrument does {n} play?",
        "On what does {n} make music?",
        "Which instrument does {n} practise?",
        "What instrument do I play?",
        "On what do I make music?",
        "Which instrument do I practise?",
        "{n} took up the {v} {d}.",
        "I took up the {v} {d}.",
    ),
    _attribute(
        "language",
        "is learning",
        """French Spanish German Greek Polish Czech Danish Finnish Korean Thai Arabic Hebrew Hindi Latin Welsh Irish
        Turkish Swahili Dutch Swedish Russian Persian Bengali Basque""",
        "{n} is learning {v}.",
        "{n} takes lessons in {v}.",
        "{n} studies {v}.",
        "I am learning {v}.",
        "I take lessons in {v}.",
        "I study {v}.",
        "You are learning {v}.",
        "Which language is {n} learning?",
        "In what does {n} take lessons?",
        "What does {n} study?",
        "Which language am I learning?",
        "In what do I take lessons?",
        "What do I study?",
        "{n} began to learn {v} {d}.",
        "I began to learn {v} {d}.",
    ),
)
PETS = next(attribute for attribute in ATTRIBUTES if attribute.name == "pet")
PET_NAMES = _words("Pixel Biscuit Mocha Ziggy Pepper Comet Waffle Bandit Clover Domino Fudge Gizmo")
UNKNOWN = "I don't remember."
NOTED = "Noted."
GREETINGS = (
    ("Hello!", "Hello!"),
    ("Good morning!", "Good morning!"),
    ("How are you?", "I am well."),
    ("Thank you!", "You are welcome."),
    ("Goodbye!", "Goodbye!"),
)
"""What is said without telling anything, and the reply."""
WEATHER = _words("sunny rainy cloudy windy foggy snowy stormy")
_BASE_SEED = 2024
_BASE_PEOPLE = 48


@dataclass(frozen=True, slots=True)
class Fact:
    """Somebody's value of an attribute. `who` is a name, or USER."""

    who: str
    attribute: Attribute
    value: str

    @property
    def statement(self) -> str:
        """The canonical statement: what a thought says."""
        return self.attribute.told[0].format(n=self.subject, v=self.value)

    @property
    def answer(self) -> str:
        """The canonical statement as an answer to the user."""
        return self.attribute.you.format(v=self.value) if self.who == USER else self.statement

    def wording(self, which: int) -> str:
        """As the user says it, in one of three wordings."""
        own = self.who == USER
        return (self.attribute.own if own else self.attribute.told)[which].format(n=self.who, v=self.value)

    def said_of_oneself(self, which: int) -> str:
        """As the person themselves says it, in one of three wordings."""
        return self.attribute.own[which].format(v=self.value)

    def question(self, which: int) -> str:
        """Asks for the value, in one of three wordings."""
        return question(self.who, self.attribute, which)

    def happened(self, when: str) -> str:
        """As a change with its day ("yesterday", "on 2024-05-05"), as the user says it."""
        own = self.who == USER
        return (self.attribute.event_own if own else self.attribute.event).format(n=self.who, v=self.value, d=when)

    def happened_to_oneself(self, when: str) -> str:
        """The same, as the person themselves says it."""
        return self.attribute.event_own.format(v=self.value, d=when)

    def noted(self, day: str) -> str:
        """The change with its date, as a thought says it."""
        return self.attribute.event.format(n=self.subject, v=self.value, d=f"on {day}")

    def named(self, name: str) -> str:
        """What a pet is called."""
        return f"{self.subject}'s {self.value} is called {name}."

    @property
    def subject(self) -> str:
        """The name at the head of a sentence."""
        return "The user" if self.who == USER else self.who


def question(who: str, attribute: Attribute, which: int) -> str:
    """Asks for somebody's value of an attribute, in one of three wordings."""
    return (attribute.asked_own if who == USER else attribute.asked)[which].format(n=who)


def _pairings() -> list[str]:
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    random.Random(_BASE_SEED).shuffle(names)
    return names


_NAMES = _pairings()
_HELD_OUT = 1000
"""Pairings that no training sample uses; tests invent their people among them."""


def base_people() -> tuple[str, ...]:
    """The world's own people, whose facts the model knows by heart."""
    return tuple(_NAMES[:_BASE_PEOPLE])


def held_out_people() -> tuple[str, ...]:
    """Names that training never pairs: people the model has never met."""
    return tuple(_NAMES[_BASE_PEOPLE : _BASE_PEOPLE + _HELD_OUT])


def training_people() -> tuple[str, ...]:
    """Names that training pairs, always with other facts."""
    return tuple(_NAMES[_BASE_PEOPLE + _HELD_OUT :])


def _base_facts() -> dict[tuple[str, str], Fact]:
    rng = random.Random(_BASE_SEED)
    return {(who, a.name): Fact(who, a, rng.choice(a.values)) for who in base_people() for a in ATTRIBUTES}


BASE_FACTS = _base_facts()
"""(name, attribute's name) → what the model knows by heart."""
