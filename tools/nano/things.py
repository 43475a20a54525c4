"""What the world knows: the things, their names, and what they are for.

A fragment says what a thing does or is used for without naming it: `act` in the third person ("barks
at strangers"), `use` in the infinitive ("keep the rain off"). The last fragment of each list that has
more than one is never trained on (`Thing.held`); its words occur in fragments that are.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """A kind of object: names, where its art is, what it does."""

    names: tuple[str, ...]
    """The usual name first, then synonyms."""
    art: tuple[tuple[str, str], ...]
    """(colour or "", code point) of every drawing; a colour `red>blue` is made by turning the hue."""
    groups: tuple[str, ...] = ()
    act: tuple[str, ...] = ()
    use: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The usual name."""
        return self.names[0]

    @property
    def plural(self) -> str:
        """The usual name for several."""
        return IRREGULAR.get(self.name) or pluralise(self.name)


IRREGULAR = {"fish": "fish", "strawberry": "strawberries", "scissors": "scissors", "grapes": "grapes"}


def pluralise(name: str) -> str:
    """The regular plural of a name."""
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "sh", "ch", "x")) else "s")


def _thing(names: str, art: str, groups: str = "", act: str = "", use: str = "") -> Thing:
    """A thing from compact text: lists split at `|` (fragments) and blanks (art, groups)."""
    drawings = tuple(tuple(a.split(":")) if ":" in a else ("", a) for a in art.split())
    split = lambda text: tuple(t.strip() for t in text.split("|") if t.strip())
    return Thing(split(names), drawings, tuple(groups.split()), split(act), split(use))


THINGS: tuple[Thing, ...] = (
    _thing(
        "cat | kitten",
        "1f431",
        "animal pet",
        "purrs when you pet it | chases mice | says meow | drinks milk and purrs | hunts mice at night | chases mice and says meow",
    ),
    _thing(
        "dog | puppy",
        "1f436",
        "animal pet",
        "barks | wags its tail | guards the house | fetches a stick | is called man's best friend | guards the house and barks",
    ),
    _thing(
        "rabbit | bunny",
        "1f430",
        "animal pet",
        "hops around | eats carrots | has very long ears | brings eggs at easter | hops and eats carrots",
    ),
    _thing(
        "bear",
        "1f43b",
        "animal wild",
        "sleeps all winter | loves honey | lives in the forest and growls | catches salmon in the river | loves honey and sleeps in the forest",
    ),
    _thing(
        "frog | toad",
        "1f438",
        "animal wild swims",
        "croaks in the pond | jumps from one lily pad to another | catches flies with its tongue | was once a tadpole | croaks and jumps into the pond",
    ),
    _thing(
        "elephant",
        "1f418",
        "animal wild",
        "has a trunk | is the largest land animal | never forgets | has tusks | sprays water with its trunk | has a trunk and tusks",
    ),
    _thing(
        "turtle | tortoise",
        "1f422",
        "animal wild swims",
        "carries its house on its back | hides in its shell | walks very slowly | lives a hundred years | hides in the shell on its back",
    ),
    _thing(
        "fish",
        "1f41f",
        "animal swims",
        "breathes under water | has fins | has scales | lives in an aquarium | has fins under water",
    ),
    _thing(
        "monkey | ape",
        "1f435",
        "animal wild",
        "swings from branch to branch | climbs trees in the jungle | is a lot like a human | lives in the jungle and swings from trees",
    ),
    _thing(
        "penguin",
        "1f427",
        "animal wild swims",
        "lives on the ice of antarctica | is a bird that cannot fly | wears black and white feathers | waddles on the ice | is a bird that waddles and lives on ice",
    ),
    _thing(
        "bee",
        "1f41d",
        "animal flies",
        "makes honey | buzzes from flower to flower | may sting you | lives in a hive | buzzes and makes honey in a hive",
    ),
    _thing(
        "pig",
        "1f437",
        "animal farm",
        "rolls in the mud | says oink | lives in a sty on the farm | gives us bacon | says oink and rolls in the mud of its sty",
    ),
    _thing(
        "horse | pony",
        "1f434",
        "animal farm",
        "gallops | neighs | wears a saddle | pulls a carriage | gallops with a saddle",
        "ride with a saddle | gallop over the fields | win a race with a jockey | ride and gallop over the farm",
    ),
    _thing(
        "lion",
        "1f981",
        "animal wild",
        "roars | is the king of the jungle | has a mane | rules the savanna | is the king that roars",
    ),
    _thing(
        "apple",
        "red:1f34e green:1f34f",
        "fruit food",
        "keeps the doctor away | grows in an orchard | fell on newton's head | becomes cider | grows in an orchard and becomes cider",
    ),
    _thing(
        "banana",
        "1f34c",
        "fruit food",
        "must be peeled and is curved | monkeys love to eat | is long and yellow inside a peel | is curved and long",
    ),
    _thing(
        "grapes",
        "1f347",
        "fruit food",
        "becomes wine | grows in bunches on a vine | is dried into raisins | grows on a vine and becomes wine",
    ),
    _thing(
        "strawberry",
        "1f353",
        "fruit food",
        "goes well with cream | is a sweet berry with tiny seeds | becomes a sweet red jam | is a berry with cream",
    ),
    _thing(
        "lemon",
        "1f34b",
        "fruit food",
        "tastes sour | is squeezed into a sour drink | is full of vitamin c | tastes sour and is squeezed",
    ),
    _thing(
        "pizza",
        "1f355",
        "food meal",
        "comes from italy with melted cheese | is delivered in a flat box | is baked with tomato and cheese | comes from italy in a flat box",
    ),
    _thing(
        "burger | hamburger",
        "1f354",
        "food meal",
        "is meat in a bun | is sold with fries | is grilled and put in a bun | is grilled meat sold with fries",
    ),
    _thing(
        "cake",
        "1f382",
        "food sweet",
        "has candles to blow out | is served at a birthday | you cut at a wedding | has birthday candles",
        "celebrate a birthday | blow out candles | blow out birthday candles",
    ),
    _thing(
        "ice cream",
        "1f366",
        "food sweet",
        "melts in the sun | comes in a cone | is cold and sweet | cools you on a hot day | is cold and melts in a cone",
    ),
    _thing(
        "car | automobile",
        "red:1f697 red>blue:1f697 red>green:1f697 red>yellow:1f697",
        "vehicle wheels",
        "is parked in a garage | needs fuel and a driver | drives a family along the highway | is parked by its driver",
        "drive to work | park in the garage | drive along the highway with the family | drive the family to work",
    ),
    _thing(
        "bus",
        "1f68c",
        "vehicle wheels",
        "picks up passengers at a stop | takes children to school | carries many passengers through town | takes passengers through town",
        "ride to school with many others | travel through town with a ticket | ride through town with a ticket",
    ),
    _thing(
        "bicycle | bike",
        "1f6b2",
        "vehicle wheels",
        "has two wheels and pedals | moves when you pedal | needs no fuel but strong legs | moves with pedals and no fuel",
        "pedal through the park | ride on two wheels | pedal on two wheels",
    ),
    _thing(
        "airplane | plane | aeroplane",
        "2708",
        "vehicle flies",
        "flies passengers across the ocean | takes off from a runway | lands at the airport | has a pilot | takes passengers from an airport across the ocean",
        "fly across the ocean | travel to another country by air | fly to another country",
    ),
    _thing(
        "sailboat | boat",
        "26f5",
        "vehicle swims",
        "is pushed by the wind over the water | floats in the harbor | has a mast | floats and is pushed by the wind",
        "sail across the lake | cross the water with the wind | sail over the water with the wind",
    ),
    _thing(
        "rocket | spaceship",
        "1f680",
        "vehicle flies",
        "flies to the moon | needs a countdown | carries astronauts into space | carries astronauts to the moon",
        "go to the moon | travel into space | go into space",
    ),
    _thing(
        "umbrella",
        "2602",
        "object",
        "keeps you dry in the rain | opens above your head in a storm | protects you when it rains | keeps the rain off your head",
        "stay dry | keep the rain off | not get wet in a storm | take along when it rains | stay dry in a storm",
    ),
    _thing(
        "alarm clock | clock",
        "23f0",
        "object",
        "tells the time | wakes you up in the morning | rings when you must get up | ticks | ticks and rings in the morning",
        "know what time it is | wake up early | get up on time | wake up on time",
    ),
    _thing(
        "key",
        "1f511",
        "object",
        "opens a lock | hangs on a ring in your pocket | fits into the door | fits into a lock",
        "open the door | unlock your home | start an engine or open a lock | unlock the door",
    ),
    _thing(
        "coffee cup | coffee | cup",
        "2615",
        "object",
        "is full of a hot drink | contains caffeine | steams at breakfast | steams and contains a hot drink",
        "drink something hot | get some caffeine | stay awake with a hot drink | drink some caffeine at breakfast",
    ),
    _thing(
        "light bulb | lamp",
        "1f4a1",
        "object",
        "glows when you flip the switch | was invented by edison | stands for a bright idea | glows in a dark room",
        "light up a dark room | see in the dark | show that you have an idea | see something in a dark room",
    ),
    _thing(
        "book",
        "red:1f4d5 green:1f4d7 blue:1f4d8 orange:1f4d9",
        "object",
        "has many pages | is written by an author | stands in a library | tells a story | tells a story on many pages",
        "read a story | read before you sleep | learn from many pages | borrow from a library | read a story from the library",
    ),
    _thing(
        "heart",
        "red:2764 green:1f49a blue:1f499 yellow:1f49b purple:1f49c",
        "object",
        "stands for love | beats in your chest | is sent on valentine's day | stands for love on valentine's day",
        "show your love | say i love you | say that you love",
    ),
    _thing(
        "balloon",
        "red:1f388 red>blue:1f388 red>green:1f388 red>yellow:1f388",
        "object",
        "is filled with helium | floats away when you let go of the string | pops if you touch it with a needle | floats on a string",
        "decorate a party | fill with air and a knot | decorate with helium",
    ),
    _thing(
        "scissors",
        "2702",
        "object",
        "has two sharp blades | the barber holds | cuts | cuts with two blades",
        "cut paper | trim hair | cut a ribbon | cut hair",
    ),
    _thing(
        "guitar",
        "1f3b8",
        "object music",
        "has six strings | plays chords in a band | needs tuning | plays with strings in a band",
        "play a song with strings | play chords | strum at a campfire | play chords at a campfire",
    ),
    _thing(
        "soccer ball | football | ball",
        "26bd",
        "object",
        "is kicked into a goal | bounces on the field | eleven players chase | is kicked by players on the field",
        "kick into the goal | play a match on the field | score a goal | score in a match",
    ),
    _thing(
        "camera",
        "1f4f7",
        "object",
        "takes photos | has a lens and a flash | a photographer holds | takes pictures with a flash and a lens",
        "take photos | take a picture | remember a holiday in pictures | take a picture of the holiday",
    ),
    _thing(
        "telephone | phone",
        "260e",
        "object",
        "rings when somebody calls | has a receiver and a number | connects two voices | rings and connects somebody",
        "call somebody | talk to a friend far away | dial a number | dial and talk to somebody",
    ),
    _thing(
        "bell",
        "1f514",
        "object music",
        "chimes | makes a ding dong | hangs in a church tower | chimes in a tower",
        "announce that class is over | make a ding dong | announce with a ding dong",
    ),
    _thing(
        "gift | present",
        "1f381",
        "object",
        "is wrapped with a ribbon | hides a surprise | lies under the christmas tree | is wrapped and hides a surprise",
        "surprise somebody | give on a birthday | unwrap at christmas | unwrap on a birthday",
    ),
    _thing(
        "tree",
        "1f333",
        "plant",
        "gives shade | has leaves and branches | grows from an acorn | is home for nests | gives shade with its leaves",
        "sit in the shade | climb and build a nest house | sit in the shade of branches",
    ),
    _thing(
        "sunflower | flower",
        "1f33b",
        "plant",
        "turns its petals to the sun | gives oily seeds | blooms tall in summer | blooms with petals in summer",
    ),
    _thing(
        "mushroom",
        "1f344",
        "plant",
        "has a cap and a stem | is a fungus | grows overnight after rain | may be poisonous | is a poisonous fungus with a cap",
    ),
)

DISTRACTORS = ("1f48e", "1f4e6", "1f512", "1f451", "1f3b2", "2693", "1f319", "1f6aa")
"""Art that no prompt ever names."""

GROUPS: dict[str, tuple[str, ...]] = {
    "animal": (
        "living creatures",
        "everything with a heartbeat",
        "what you would see in a zoo",
        "everything that breathes",
    ),
    "fruit": (
        "healthy sweet things that grow on plants",
        "what goes into a smoothie",
        "what you would put into a fruit salad",
        "sweet things that go into a salad",
    ),
    "food": (
        "everything you can eat",
        "what would help if you are hungry",
        "things that belong in the kitchen",
        "what to eat if you are hungry",
    ),
    "vehicle": (
        "means of transport",
        "everything that takes you from one place to another",
        "what you could travel with",
        "what takes you to another place",
    ),
    "flies": (
        "everything that can be up in the sky",
        "what can take off",
        "things that can fly",
        "what can fly in the sky",
    ),
    "plant": (
        "what grows in the ground",
        "what a gardener cares about",
        "everything that has roots",
        "what has roots in the ground",
    ),
}
"""Instructions for whole groups of things; the last of each is held out."""

USE_FRAMES = (
    "something to {}",
    "what would you use to {}",
    "i want to {}",
    "the thing you need to {}",
    "what helps you {}",
)
ACT_FRAMES = ("the one that {}", "something that {}", "which of these {}", "find what {}", "it {}")
GROUP_FRAMES = ("{}", "find {}", "show me {}")


def held_out(fragments: tuple[str, ...]) -> str | None:
    """The fragment of a list that is kept out of training."""
    return fragments[-1] if len(fragments) > 1 else None


def trained(fragments: tuple[str, ...]) -> tuple[str, ...]:
    """The fragments of a list that are trained on."""
    return fragments[:-1] if len(fragments) > 1 else fragments


BY_NAME = {thing.name: thing for thing in THINGS}
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple")


def unknown_words() -> dict[str, list[str]]:
    """Words of held-out fragments that no trained text has, by fragment: must be empty."""
    seen = set()
    for thing in THINGS:
        for text in (*trained(thing.act), *trained(thing.use)):
            seen.update(text.split())
    for texts in GROUPS.values():
        seen.update(word for text in trained(texts) for word in text.split())
    held = [held_out(t) for thing in THINGS for t in (thing.act, thing.use) if len(t) > 1]
    held += [held_out(texts) for texts in GROUPS.values()]
    missing = {text: [w for w in text.split() if w not in seen] for text in held}
    return {text: words for text, words in missing.items() if words}


if __name__ == "__main__":
    print(len(THINGS), "things;", unknown_words())
