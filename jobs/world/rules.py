"""The requests people make: domain, intent and the phrasings of each, as templates over named slots."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One intent with the ways to say it.

    Attributes:
        domain: domain that the assistant reports.
        intent: intent that the assistant reports.
        templates: phrasings; `{slot}` stands for a value of that slot. Phrasings with the same slots mean the same.
        share: how much of the traffic asks for this intent, relative to the other rules.
        dwell_mean_s: mean use of a right result in seconds; 0 where playback has no meaning.
    """

    domain: str
    intent: str
    templates: tuple[str, ...]
    share: float
    dwell_mean_s: float = 0.0


def _rule(domain: str, intent: str, share: float, templates: str, dwell_mean_s: float = 0.0) -> Rule:
    return Rule(domain, intent, tuple(t.strip() for t in templates.split("|")), share, dwell_mean_s)


SONG_MEAN_S, ALBUM_MEAN_S, VIDEO_MEAN_S = 170.0, 1100.0, 1500.0

# Order matters where phrasings overlap: the assistant takes the first rule that reads the whole text exactly.
RULES: tuple[Rule, ...] = (
    _rule("audio", "next", 3.5, "next song | skip this song | skip this one | play the next song"),
    _rule("audio", "previous", 0.7, "previous song | go back one song | play the last song again"),
    _rule("audio", "pause", 1.5, "pause | pause the music"),
    _rule("audio", "resume", 1.0, "resume | keep playing | continue the music"),
    _rule("audio", "stop", 0.6, "stop | stop the music | cancel"),
    _rule("audio", "louder", 1.5, "louder | turn it up | turn up the volume"),
    _rule("audio", "quieter", 1.2, "quieter | turn it down | turn down the volume"),
    _rule("audio", "set_volume", 1.2, "set the volume to {volume} | volume {volume}"),
    _rule("audio", "what_is_playing", 1.2, "what song is this | who sings this | what is playing"),
    _rule("audio", "more_like_this", 0.8, "play more like this | more songs like this", SONG_MEAN_S),
    _rule(
        "music",
        "add_to_playlist",
        0.9,
        "add this song to my {playlist} playlist | put this on my {playlist} playlist",
    ),
    _rule(
        "music",
        "play_artist",
        12.0,
        "play {artist} | play songs by {artist} | play music by {artist} | put on some {artist} | "
        "i want to hear {artist}",
        ALBUM_MEAN_S / 2,
    ),
    _rule(
        "music",
        "play_album",
        6.0,
        "play the album {album} | play the album {album} by {artist} | put on the album {album} | "
        "start the album {album} by {artist}",
        ALBUM_MEAN_S,
    ),
    _rule(
        "music",
        "play_playlist",
        7.0,
        "play my {playlist} playlist | start the {playlist} playlist | shuffle my {playlist} playlist | "
        "put on my {playlist} playlist",
        ALBUM_MEAN_S,
    ),
    _rule(
        "music",
        "play_genre",
        4.5,
        "play {genre} | play some {genre} music | put on some {genre} | i want to hear some {genre}",
        ALBUM_MEAN_S / 2,
    ),
    _rule(
        "music",
        "play_mood",
        3.0,
        "play something {mood} | play {mood} music | i need something {mood} to listen to",
        ALBUM_MEAN_S / 2,
    ),
    _rule(
        "books",
        "read_book",
        4.0,
        "read me {book} | play the audiobook {book} | open the book {book} | read {book}",
        VIDEO_MEAN_S,
    ),
    _rule("books", "continue_book", 0.8, "keep reading my book | continue my audiobook", VIDEO_MEAN_S),
    _rule(
        "video",
        "watch_show",
        4.5,
        "watch {show} | play the show {show} | put on the next episode of {show} | i want to watch {show}",
        VIDEO_MEAN_S,
    ),
    _rule(
        "music",
        "play_song",
        19.0,
        "play {song} | play {song} by {artist} | play the song {song} | put on {song} by {artist} | "
        "i want to hear {song} by {artist} | put on {song} | can you play {song} by {artist}",
        SONG_MEAN_S,
    ),
    _rule(
        "iot",
        "lights_on",
        4.0,
        "turn on the {room} lights | {room} lights on | switch on the lights in the {room} | lights on in the {room}",
    ),
    _rule(
        "iot",
        "lights_off",
        4.0,
        "turn off the {room} lights | {room} lights off | switch off the lights in the {room} | "
        "lights off in the {room}",
    ),
    _rule("iot", "lights_dim", 1.6, "dim the {room} lights to {level} | set the {room} lights to {level}"),
    _rule("iot", "lights_colour", 1.4, "make the {room} lights {colour} | turn the {room} lights {colour}"),
    _rule("iot", "set_heating", 1.4, "set the heating to {degrees} degrees | make it {degrees} degrees"),
    _rule("alarm", "cancel_timer", 0.8, "cancel the timer | stop the timer"),
    _rule("alarm", "time_left", 0.8, "how much time is left | how long is left on the timer"),
    _rule(
        "alarm", "set_timer", 5.0, "set a timer for {duration} | timer for {duration} | start a timer for {duration}"
    ),
    _rule(
        "alarm",
        "set_named_timer",
        1.6,
        "set a {timer} timer for {duration} | start the {timer} timer for {duration}",
    ),
    _rule("alarm", "set_alarm", 2.5, "wake me up at {time} | set an alarm for {time}"),
    _rule("lists", "add_item", 5.0, "add {item} to my {list} | put {item} on my {list}"),
    _rule("lists", "remove_item", 0.9, "remove {item} from my {list} | take {item} off my {list}"),
    _rule("lists", "read_list", 1.0, "what's on my {list} | read my {list}"),
    _rule("lists", "remind_at", 0.6, "remind me to {task} at {time}"),
    _rule("lists", "remind", 1.2, "remind me to {task} | don't let me forget to {task}"),
    _rule(
        "weather",
        "rain",
        1.6,
        "will it rain {day} | do i need an umbrella {day} | will it rain in {place} {day} | will it rain in {place}",
    ),
    _rule(
        "weather",
        "weather",
        4.0,
        "what's the weather | how is the weather | what's the weather in {place} | how is the weather in {place} | "
        "what's the weather {day} | what will the weather be {day} | what's the weather in {place} {day} | "
        "what will the weather be in {place} {day}",
    ),
    _rule("calls", "call", 4.5, "call {contact} | phone {contact} | make a call to {contact}"),
    _rule("calls", "message", 1.6, "send a message to {contact} | text {contact}"),
    _rule("datetime", "time", 1.2, "what time is it | what's the time"),
    _rule("datetime", "date", 0.6, "what day is it today | what's the date today"),
    _rule("general", "joke", 0.7, "tell me a joke | do you know a joke"),
)

RULE_OF: dict[str, Rule] = {rule.intent: rule for rule in RULES}
