"""Invented artists with their songs and albums; any likeness to a real name is chance.

One line per artist: `artist: song, song, ... | album, album`. Names are near each other on purpose ("marlow finch" and
"marla finch", the song and the album "harbour lights"): a world without near misses would flatter every rewriter.
"""

_TABLE = """
marlow finch: paper lanterns, slow river home, the second kettle, harbour lights | harbour lights, field notes
marla finch: copper thread, half a lantern, borrowed weather | a winter of kites
the velvet almanac: static garden, seventh avenue moon, glass tomorrow | static garden, night arithmetic
ada winterbourne: cold orchard, letters to the sea, little engine | the orchard tapes
juniper vale: honey and gravel, fourteen swallows, leave the porch light on | fourteen swallows
junior vale: concrete holiday, big small town, borrowed shoes | concrete holiday
the harbour lights: foghorn waltz, tin boat, golden hour | salt and timber
silas crane: the last blue train, mercy road, ghost of a chance | mercy road, dust and diesel
silent crane: white feather, stilt walker, marsh song | the wading season
norah pell: candle for two, velvet morning, slow dance alone | candle for two
the copper foxes: run the ridge, hollow bones, wildfire lane | run the ridge
copper fox: midnight errand, tail lights, hedgerow | the hedgerow sessions
otis marchbank: sugar on the radio, sunday shoes, got no umbrella | sugar on the radio
dominic ashe: northern wire, paper crown, the quiet between | paper crown
dominica ash: sunlit stairs, mango season, tell your mother | mango season
the plastic sundays: supermarket love, vending machine heart, bad haircut | supermarket love
little vera: balloon animal, pocket money, seven new friends | pocket money
big vera and the tides: swim to me, undertow, moonlight ferry | undertow
kestrel avenue: skyline fever, rooftop season, electric parade | skyline fever, postcards from nowhere
castle avenue: drawbridge, king of the car park, the moat | king of the car park
hollis grey: rain on tin, old dog blues, the long way down | rain on tin
holly gray: snow in april, mistletoe road, winter coat | mistletoe road
the midnight gardeners: moonflower, compost king, roots and wires | roots and wires
tomas rivero: la orilla, dance until monday, red balcony | red balcony
theo and the satellites: orbit song, loose antenna, falling upward | loose antenna
saffron lane: cinnamon sky, market day, the spice seller | cinnamon sky
safari lane: lion in the hallway, dry season, jeep song | dry season
ezra bloom: petal by petal, greenhouse, golden hour | greenhouse
esther bloom: the piano in the attic, dandelion clock, a smaller room | dandelion clock
the tin whistlers: reel for margaret, the miller's daughter, over the bog | over the bog
neon parish: church of speed, laser hymn, midnight choir | laser hymn
maple and stone: cabin fever dream, split the wood, first frost | first frost
maple stone: seventeen acres, barn dance, gravel heart | seventeen acres
delia moon: crescent, tell it to the tide, silver dress | crescent
cordelia moon: stage fright, velvet curtain, third encore | velvet curtain
the brass pigeons: trafalgar stomp, breadcrumb blues, rooftop brass | breadcrumb blues
arlo quill: ink and paper, unsent, letters in the drawer | unsent
carlo quinn: midnight in verona, vespa summer, espresso heart | vespa summer
winter parade: snow globe, marching slow, breath like smoke | snow globe
printer parade: paper jam, low on ink, office romance | paper jam
rosa delmonte: carnival street, under the lemon tree, ten red roses | under the lemon tree
the paper admirals: fold me a boat, bathtub war, captain of nothing | captain of nothing
ingrid solberg: northern lullaby, glacier, the fisherman's wife | glacier
gus halloran: whiskey monday, two dollar guitar, truck stop angel | truck stop angel
the lost umbrellas: puddle jumper, bus stop serenade, grey skies forever | bus stop serenade
amara jones: rise and shine, crown of braids, brown sugar morning | crown of braids
tamara jones: heart on hold, call me collect, telephone wire | telephone wire
pixel prairie: eight bit sunset, save point, cartridge | save point
the slow trains: platform nine blues, delayed again, sleeper car | sleeper car
leo castellan: the fencing lesson, candlelight, march of the tin men | candlelight
lea castle: fountain, cherry pits, paper doll | paper doll
the wandering aunts: tea at four, knitting song, gossip | tea at four
bright machine: power cut, robot lullaby, switch me on | switch me on
right machine: clean signal, operator, tape loop | operator
hazel thorn: bramble, briar rose, a crown of nettles | bramble
hazel horn: trumpet in the rain, saturday brass, uptown bound | uptown bound
monty carver: chopping board blues, sharp knife, sunday roast | sunday roast
the yellow submariners: periscope, deep end, pressure | periscope
kit marlowe band: tavern song, the reckoning, drink up thy cider | the reckoning
violet hour: lavender haze machine, dusk, purple telephone | dusk
violent flower: thorn in my boot, garden riot, bloom and burn | garden riot
sister cassidy: gospel of the road, hallelujah diner, wash me clean | hallelujah diner
mister cassidy: card trick, lucky coat, vanishing act | card trick
the apple thieves: over the wall, orchard at midnight, bite | over the wall
river and rye: grain alley, watermill, mash song | watermill
river in may: thaw, spring tide, the ice goes out | thaw
olive underwood: typewriter, carbon copy, ribbon and keys | carbon copy
oliver underhill: barrow road, fox in the wheat, lantern song | fox in the wheat
the echo department: hello hello, canyon, repeat after me | canyon
stella brandt: fire escape, marmalade, cheap champagne | marmalade
"""


def _parse(line: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    artist, _, works = line.partition(": ")
    songs, _, albums = works.partition(" | ")
    return artist, tuple(songs.split(", ")), tuple(albums.split(", "))


_ROWS = tuple(_parse(line) for line in _TABLE.strip().splitlines())

ARTISTS: tuple[str, ...] = tuple(artist for artist, _, _ in _ROWS)
"""Most popular first: the order is the assistant's idea of fame, which settles a title that two artists share."""

SONGS: tuple[tuple[str, str], ...] = tuple((song, artist) for artist, songs, _ in _ROWS for song in songs)
"""(song, artist), in the order of the table."""

ALBUMS: tuple[tuple[str, str], ...] = tuple((album, artist) for artist, _, albums in _ROWS for album in albums)
"""(album, artist), in the order of the table."""
