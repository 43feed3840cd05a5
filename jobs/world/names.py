"""Word lists of the demo world, of our own writing, spelled as spoken: lower case, numbers as words."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.replace("\n", ",").split(",") if word.strip())


GENRES = _words("""jazz, rock, soul, folk, country, classical, blues, reggae, disco, punk, opera, gospel, hip hop,
house, ambient, bluegrass, swing, funk, salsa, piano, guitar, film, baroque, celtic""")

MOODS = _words("""relaxing, happy, sad, upbeat, calm, romantic, sleepy, energetic, dreamy, mellow, cheerful, quiet,
soothing, angry""")

PLAYLISTS = _words("""morning coffee, road trip, sunday cleaning, gym power, deep focus, dinner party, rainy day,
old favourites, kids in the car, night drive, beach day, garden work, baking hour, monday blues, first dance,
running fast, walking slow, homework time, bath time, winter evenings, summer evenings, friday night, saturday night,
grandma's songs, dad rock, study hall, yoga flow, long commute, short commute, birthday party, camp fire,
heartbreak hotel room, new discoveries, songs for tom, songs for pam, train journey, rain journey""")

ROOMS = _words("""kitchen, bedroom, living room, bathroom, hallway, office, garage, dining room, nursery, attic, porch,
guest room, basement, garden""")
COLOURS = _words("red, blue, green, warm white, purple, orange, pink, yellow")
LEVELS = _words("""ten percent, twenty percent, thirty percent, forty percent, fifty percent, sixty percent,
seventy percent, eighty percent, ninety percent""")
VOLUMES = _words("one, two, three, four, five, six, seven, eight, nine, ten")
DEGREES = _words("""sixteen, seventeen, eighteen, nineteen, twenty, twenty one, twenty two, twenty three""")

_UNITS = _words("one, two, three, four, five, six, seven, eight, nine")
_TEENS = _words("ten, eleven, twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen")
_TENS = _words("twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety")
NUMBERS = _UNITS + _TEENS + tuple(f"{ten}{rest}" for ten in _TENS for rest in ("", *(f" {unit}" for unit in _UNITS)))
"""One to ninety nine, in order."""

DURATIONS = (
    *(f"{number} minutes" for number in NUMBERS[1:]),
    *_words("one minute, an hour, half an hour, an hour and a half, thirty seconds, forty five seconds"),
    *(f"{number} hours" for number in NUMBERS[1:12]),
    *(f"{number} seconds" for number in NUMBERS[4:20]),
)
TIMES = tuple(
    f"{hour}{minute} {half}"
    for hour in NUMBERS[:12]
    for minute in ("", " fifteen", " thirty", " forty five")
    for half in ("a m", "p m")
)
TIMERS = _words(
    "pasta, pizza, eggs, rice, laundry, tea, bread, oven, homework, nap, chicken, cookies, parking, workout"
)

ITEMS = _words("""milk, eggs, bread, butter, cheese, apples, bananas, coffee, tea, rice, pasta, tomatoes, onions,
garlic, carrots, potatoes, chicken, salmon, yogurt, flour, sugar, salt, pepper, olive oil, honey, oats, lemons, limes,
grapes, spinach, lettuce, mushrooms, peppers, beans, lentils, noodles, soap, shampoo, toothpaste, paper towels,
light bulbs,
batteries, dog food, cat food, bin bags, washing powder, orange juice, apple juice, dark chocolate, peanut butter,
almond milk, oat milk, goat cheese, plums, pears, peas, beets, sweets, candles, matches, wine, lime soda, stamps,
string, tape, cake mix, steak, thyme, basil, parsley""")
LISTS = _words("shopping list, to do list, packing list, party list, garden list, gift list")
TASKS = _words("""water the plants, call the dentist, feed the cat, take out the bins, pay the rent, book the train,
pick up the dry cleaning, charge the car, post the letter, walk the dog, renew the library books, defrost the chicken,
send the invoice, buy a birthday card, check the oven, clean the fish tank""")

PLACES = _words("""london, paris, berlin, oslo, dublin, madrid, lisbon, rome, vienna, boston, austin, chicago, denver,
seattle, toronto, sydney, tokyo, cairo, athens, glasgow, bristol, york, leeds, cardiff, brighton, portland, houston,
dallas, new york, san francisco, los angeles, geneva, genoa, venice, nice, cologne, bologna, helsinki, stockholm,
warsaw""")
DAYS = _words("""today, tomorrow, tonight, this weekend, this afternoon, on monday, on tuesday, on wednesday,
on thursday, on friday, on saturday, on sunday""")

BOOKS = _words("""the glass lighthouse, a season of ravens, the clockmaker's niece, salt road, the seventh tenant,
a map of small rivers, the borrowed house, winter at saint anne's, the beekeeper's ledger, all the quiet rooms,
murder on the night ferry, the orchard murders, the paper thief, the paper chief, dragon's winter,
the dragon winters here, bread and thunder, notes from a lighthouse, the last cartographer, a spoon for the giant,
the boy who folded maps, the girl who sold maps, the long goodbye garden, two weeks in november""")
SHOWS = _words("""harbour patrol, the baking yard, planet of moss, detective marsh, detective march, midnight kitchen,
castle ward, the lock keepers, robots at sea, little garden big dreams, the jury room, night bus, cold water rescue,
the potter's field, spies of vienna, penguin college, the great allotment, street of clocks, high tide hospital,
market stall heroes, the train set, the trainee""")

RELATIVES = _words("mum, dad, grandma, grandpa, my sister, my brother, aunt jo, uncle joe, the office, the dentist")
FIRST_NAMES = _words("""anna, hannah, ben, jen, jon, joan, mark, marc, maria, marina, peter, petra, tom, tim, pam, sam,
kate, nate, lucy, luke, ellen, helen, alan, aaron, karen, sharon, dan, diane, nina, tina, oscar, otto, ruth, rose,
simon, simone, victor, vera, will, bill""")
LAST_NAMES = _words("""archer, baker, carver, dalton, easton, fielding, garner, harper, ingram, jarvis, keller, lawson,
mercer, norton, osborne, parker, quincy, rhodes, sawyer, turner, underwood, vance, weaver, yardley""")

TITLE_ADJECTIVES = _words("""amber, broken, careless, distant, early, faded, gentle, hidden, idle, jaded, kind, lonely,
magnetic, nameless, open, patient, quiet, restless, secret, tender, unfinished, vacant, wandering, yearning, crooked,
burning, hollow, silver, crimson, electric, frozen, golden, hungry, invisible, lazy, marble, narrow, ordinary, painted,
reckless, scarlet, tangled, upside down, velvet, weightless, paper, plastic, wooden, copper, midnight""")
TITLE_NOUNS = _words("""arrow, balcony, carousel, doorway, engine, feather, garden, horizon, island, jigsaw, kingdom,
ladder, mirror, needle, ocean, parade, quarry, railway, shadow, theatre, umbrella, valley, window, yesterday, zipper,
anchor, bicycle, cathedral, daughter, elevator, fountain, guitar, hotel, icicle, journal, kettle, lantern, mountain,
neighbour, orchid, pendulum, question, ribbon, satellite, telephone, uncle, violin, whisper, airport, blanket""")
"""Titles for logs and tries larger than the spoken catalogue: "the crooked ladder", "velvet satellite"."""
