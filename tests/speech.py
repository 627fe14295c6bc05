"""Speech as a telephone brings it, by espeak-ng: many voices, pitches, paces and languages."""

import random
import subprocess

import numpy
from numpy.typing import NDArray

from native import RATE_HZ

# Universal Declaration of Human Rights, article 1, and what is said on telephones.
TEXTS = {
    "en-us": "All human beings are born free and equal in dignity and rights. They are endowed with "
    "reason and conscience and should act towards one another in a spirit of brotherhood. "
    "Hello, my number is one two three four five, please call me back before half past nine. "
    "Ah, oh, I see; well, no, eh, aah, ooh, mmm.",
    "en-gb": "All human beings are born free and equal in dignity and rights. Good morning, is that "
    "the surgery? I have been waiting for nearly half an hour. Six seven eight nine zero, "
    "yes. Aah, er, oh dear, I am so sorry.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
    "und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen. Guten Tag, "
    "meine Nummer ist null eins zwei drei, bitte rufen Sie morgen zurück. Ah, oh, ach so, ja, "
    "nein, äh, aah, ooh.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
    "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité. Bonjour, mon numéro est zéro un deux trois, rappelez-moi demain matin. Ah, "
    "oh, oui, non, euh, aah, ooh.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
    "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros. "
    "Hola, mi número es cero uno dos tres, llámame mañana. Ah, oh, sí, no, eh, aah, ooh.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati "
    "di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di "
    "fratellanza. Pronto, il mio numero è zero uno due tre. Ah, oh.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात "
    "स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और "
    "अन्तरात्मा की देन प्राप्त है।",
}
VOICES = ("", *(f"+f{n}" for n in range(1, 5)), *(f"+m{n}" for n in range(1, 8)), "+croak", "+whisper")
ESPEAK_RATE_HZ = 22050
# Header of a WAV file whose length espeak-ng did not know when it began.
WAV_HEADER_BYTES = 44


def speech(seconds: float, seed: int = 1) -> bytes:
    chance = random.Random(seed)
    parts: list[bytes] = []
    size = 0
    while size < 2 * RATE_HZ * seconds:
        language, text = chance.choice(list(TEXTS.items()))
        words = text.split()
        chance.shuffle(words)
        voice = [
            "-v",
            language + chance.choice(VOICES),
            "-p",
            f"{chance.randint(5, 95)}",
            "-s",
            f"{chance.randint(110, 220)}",
        ]
        parts.append(utter(" ".join([*words, text]), *voice))
        size += len(parts[-1])
    return b"".join(parts)[: 2 * round(RATE_HZ * seconds)]


def utter(text: str, *voice: str) -> bytes:
    """16-bit samples at 8000 Hz, by espeak-ng with these options."""
    command = ["espeak-ng", *voice, "--stdout"]
    wav = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
    return _at_8000_hz(numpy.frombuffer(wav, "<i2", offset=WAV_HEADER_BYTES))


def _at_8000_hz(samples: NDArray[numpy.int16]) -> bytes:
    count = len(samples) * RATE_HZ // ESPEAK_RATE_HZ
    sound = numpy.fft.irfft(numpy.fft.rfft(samples)[: count // 2 + 1], count)
    return bytes((sound * (13000 / max(1e-9, abs(sound).max()))).astype("<i2").tobytes())
