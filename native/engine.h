#pragma once

/* The media engine's one public header; its text is also the cffi declaration, so it holds no preprocessor
 * line but the first.
 *
 * What it does: a conference bridge. Everything that makes or takes sound is a port; connections carry sound
 * from one port to another; every 20 ms a tick moves one frame (160 samples, 8000 Hz, signed 16 bits) along
 * each of them.
 *
 * How it works: two threads. The *control* thread calls everything below, except where said otherwise. The
 * *tick* - the engine's own real-time thread, or engine_tick() called by hand - allocates nothing, locks
 * nothing and makes no system call but the ports' own reads and writes. Between them are queues with one
 * writer and one reader each. A third thread carries streams between their ports and their sockets (lanes.c).
 *
 * How to use it: engine_create, *_create some ports, engine_connect them, engine_start; when engine_fd
 * becomes readable, engine_events and stream_take until they have no more.
 *
 * Ownership: every port belongs to its engine and is freed by it, after port_remove or in engine_destroy.
 * Buffers are the caller's and are not kept after a call. Functions that return a pointer give NULL, and
 * those that return int give -1, with errno set, when they fail. */

enum { FRAME_SAMPLES = 160, RATE_HZ = 8000, TICK_MS = 20 };

typedef struct engine engine;
typedef struct port port;

/* ---- the clock ---- */

typedef struct {
    uint64_t ticks;
    uint64_t skipped;       /* ticks given up because the thread was more than ten of them late */
    uint64_t lost_events;   /* events that found the queue full */
    uint32_t worst_late_us; /* since the last engine_read_stats */
    bool realtime;          /* the thread runs under SCHED_FIFO */
} engine_stats;

engine *engine_create(void);
void engine_destroy(engine *e); /* stops the thread, frees all ports; NULL is allowed */
int engine_start(engine *e);
void engine_stop(engine *e);           /* waits for the thread, up to one tick */
int engine_tick(engine *e, int count); /* EBUSY while the thread runs */
void engine_read_stats(engine *e, engine_stats *out);

/* By hand, what the thread does around every third tick: its devices are looked at, so many ns from its time;
 * after it, how much later the following ticks are to come (phase.c). */
enum { LOOK_FAR = -3000000, LOOK_NEAR = -1000000, LOOK_DUE = 0, LOOK_AFTER = 1000000 };
int64_t engine_look(engine *e, int when);

/* ---- events ---- */

enum event_kind {
    EVENT_DTMF,      /* value: the digit's character */
    EVENT_PLAYED,    /* value: the mark of stream_checkpoint */
    EVENT_CLEARED,   /* value: the mark of stream_clear */
    EVENT_FINISHED,  /* a player or a tone reached its end */
    EVENT_FAILED,    /* value: errno, 0 for end of file; the port is silent from now on */
    EVENT_CODE,      /* a voice modem's: value: the character after <DLE> */
    EVENT_TEXT,      /* value: a character of the report between <DLE>X and <DLE>. */
    EVENT_REPORT,    /* its end */
    EVENT_ENDED,     /* a voice modem's stream; the port is silent from now on, and its tty the caller's */
    EVENT_TONE,      /* value: the kind of the tone_pattern that was found */
    EVENT_CALLER_ID, /* port_take_caller_id has it */
    EVENT_TONE_END,  /* value: its kind */
    EVENT_VOICE,     /* where tones are looked for: something else sounds */
};

typedef struct {
    uint32_t kind;
    uint32_t port; /* port_id */
    int64_t value;
} event;

/* Readable when an event, a lane's news, or a stream's frame that no lanes' thread sends waits; the engine's
 * own, do not close. */
int engine_fd(const engine *e);
int engine_events(engine *e, event *out, int capacity); /* how many; clears the fd */

/* ---- ports and connections ---- */

/* Largest absolute sample of the last second, and since the port was made. */
typedef struct {
    uint16_t yielded, given;
    uint16_t most_yielded, most_given;
} port_peaks;

uint32_t port_id(const port *p); /* unique in the engine, never used again */
int port_remove(port *p);        /* p is not to be used any more, by anything; its connections go with it */
int port_detect_dtmf(port *p, bool on); /* on what the port yields; one event for each press */
void port_read_peaks(const port *p, port_peaks *out);

/* What follows is done to what the port yields, and costs nothing while it is off. */

/* Level and voice activity. */
typedef struct {
    float mean_square; /* of the last eighth of a second; a sine of full scale has 2^29 */
    bool voice;
} port_activity;

int port_measure(port *p, bool on);
void port_read_activity(const port *p, port_activity *out);

/* Takes out what the port was given and returns within so many ms; 0: off. EINVAL: more than MOST_TAIL_MS, or
 * a port that yields or takes nothing. */
enum { MOST_TAIL_MS = 512 };
int port_cancel_echo(port *p, uint32_t tail_ms);

/* Automatic gain, suppression of steady noise; the sound is 10 ms later. EINVAL: a conference, as what each
 * of its parties hears is another sum. */
int port_process(port *p, bool agc, bool denoise);

/* Whether what has run out goes on for 50 ms, fading, or stops at once. It is on, unless we play the device.
 * EINVAL: the port has no clock but ours. */
int port_conceal(port *p, bool on);

/* Both open and close within a frame. Muted: nobody hears what the port yields; its detectors and peaks still
 * do. Deaf: it is given silence. EINVAL: a conference. */
int port_mute(port *p, bool on);
int port_deafen(port *p, bool on);

/* Connecting what is connected changes the gain (a factor): at once, or when the step is above 6 dB, over
 * five frames. EINVAL: both are conferences. */
int engine_connect(engine *e, port *source, port *sink, float gain);
int engine_disconnect(engine *e, port *source, port *sink);

/* ---- PCM port: a modem's audio tty, or the device's end of one (pcm.c) ---- */

enum pace {
    PACE_FOLLOW, /* the device's stream is the clock: a byte is sent for a byte received */
    PACE_CLOCK,  /* we are the device: chunk_bytes are sent whenever our ticks have made so many */
};

/* Sound on its way from one clock to another (inlet.c). */
typedef struct {
    uint64_t underruns;     /* times it ran out */
    uint64_t concealed;     /* frames put in its place, of concealment or silence */
    uint64_t overruns;      /* times the buffer was full and its oldest samples were lost */
    uint64_t slips;         /* times surplus delay was cut out */
    uint64_t dropped;       /* samples lost to overruns and slips */
    uint32_t depth_samples; /* there, not yet taken */
    float drift_ppm;        /* how much faster the clock is that it comes from; 0: not known yet */
} inlet_stats;

typedef struct {
    uint64_t received_bytes, sent_bytes; /* stale bytes thrown away at the start are not counted */
    uint64_t dropped_uplink;             /* samples that the device did not take in time */
    uint32_t waiting_samples;            /* given, and not yet sent, after the last tick */
    inlet_stats downlink;
} pcm_stats;

port *pcm_create(engine *e, int fd, int pace, uint32_t chunk_bytes); /* fd: non-blocking, duplicated */
void pcm_hold(port *p, bool on); /* on: reads on, sends nothing, what it is given meanwhile is dropped */
void pcm_read_stats(const port *p, pcm_stats *out);

/* ---- voice port: a voice modem's tty in ITU-T V.253's duplex stream, or the modem's end of one (voice.c)
 * ---- */

enum voice_format {
    VOICE_U8, /* linear, unsigned */
    VOICE_L16,
    VOICE_PCMU,
    VOICE_PCMA,
};

enum {
    VOICE_CODES_BYTES = 16,    /* sent at once */
    VOICE_BEYOND_BYTES = 4096, /* read at once, and so beyond the end at most */
};

typedef struct {
    uint64_t received_bytes, sent_bytes; /* audio, unshielded */
    uint64_t dropped_uplink;             /* samples that the modem did not take in time */
    uint32_t waiting_samples;            /* given, and not yet sent, after the last tick */
    uint64_t dropped_codes;              /* more than any modem has to say: noise */
    uint64_t modem_underruns;            /* <DLE>u: it ran dry */
    uint64_t modem_overruns;             /* <DLE>o: it was not read in time */
    inlet_stats downlink;
} voice_stats;

/* fd: non-blocking, duplicated; early: what was read of the stream already, at most VOICE_BEYOND_BYTES. */
port *voice_create(engine *e, int fd, int format, int pace, const uint8_t *early, size_t size);

/* Sends codes as they are between two samples; last: and nothing after them. EBUSY: the ones before were not
 * sent yet. */
int voice_send(port *p, const uint8_t *codes, size_t size, bool last);
/* What was read beyond the end of the stream; returns how much of VOICE_BEYOND_BYTES. Nothing before
 * EVENT_ENDED. */
size_t voice_beyond(const port *p, uint8_t *out);
/* After EVENT_ENDED: the modem has said CONNECT again. EINVAL: it has not ended, or too much is early. */
int voice_resume(port *p, const uint8_t *early, size_t size);
void voice_read_stats(const port *p, voice_stats *out);

/* ---- device port: a sound card, one channel of 16 bits (device.c) ---- */

typedef struct {
    uint64_t captured_samples, played_samples; /* of 8000 Hz */
    uint64_t input_xruns, output_xruns;
    uint64_t dropped_downlink,
        dropped_uplink; /* samples that the other thread did not fetch within a second */
    inlet_stats downlink, uplink;
} device_stats;

typedef struct device_line device_line;

port *device_create(engine *e, uint32_t rate_hz); /* EINVAL: a rate that is not resampled */
void device_read_stats(const port *p, device_stats *out);
/* The card's end, for one card at a time. It stays, the port removed or not, until whoever holds it has
 * released it, on any thread; device_open holds it once. */
device_line *device_open(port *p);
void device_hold(device_line *l);
void device_release(device_line *l);

/* What the card's thread does; these by no other at the same time. */
bool device_wanted(const device_line *l); /* false: the port was removed */
/* So many samples were captured, or are to be played; in and out may be NULL. */
void device_call(device_line *l, const int16_t *in, int16_t *out, uint32_t n);
void device_xrun(device_line *l, bool playing);
void device_finish(device_line *l); /* nothing will come any more: EVENT_FAILED with ENODEV */

/* ---- sound cards, by libasound (cards.c, card.c); any thread, for as long as a driver keeps it waiting ----
 */

enum { SOUND_PLAYS = 1, SOUND_CAPTURES = 2, SOUND_NAME = 200, SOUND_WORDS = 256 };

typedef struct {
    char name[SOUND_NAME]; /* for people: of a card with its place, of what is configured as it is */
    char pcm[SOUND_NAME];  /* for sound_ways and card_open */
    bool configured;       /* in ALSA's configuration; may not work at all */
} sound_device;

/* Where these fail, why is told in SOUND_WORDS characters at most. */
int sound_look(sound_device *out, int capacity, char *why); /* how many, no more than capacity; or -1 */
int sound_ways(const char *pcm); /* which it can be opened for now: 0, SOUND_PLAYS, SOUND_CAPTURES or both */

typedef struct card card;

/* At exactly that rate, which is the port's. What the line says is played the latency and 20 ms later. It is
 * held until card_close. */
card *card_open(device_line *l, const char *pcm, uint32_t rate_hz, uint32_t latency_ms, char *why);
void card_close(card *c);

/* ---- stream port: a customer's media stream (stream.c, playback.c) ---- */

enum codec { CODEC_PCMA, CODEC_PCMU, CODEC_L16 };

/* Bytes of a prefix or suffix, not to be found in JSON, in whose place a message has a number in decimal:
 * its own among all that are counted by it and stream_next; the frame's, from 1 on; the frame's time, in ms.
 */
enum stream_number { STREAM_SEQUENCE = 1, STREAM_CHUNK, STREAM_TIME };

/* A minute. */
enum { STREAM_MOST_KEPT = 3000 };

typedef struct {
    const char *prefix; /* a message is prefix, the frame in base64, suffix */
    const char *suffix;
    uint32_t prefix_bytes, suffix_bytes;
    uint32_t rate_hz;
    int codec;
    bool uplink; /* false: no messages are made of what the port hears */
    /* 0: what was heard while no lane had joined is forgotten. Else so many of the newest frames are kept,
     * two seconds at least, whatever they wait for; and at most four are taken in a tick. EINVAL: too many.
     */
    uint32_t kept_frames;
} stream_options;

/* How long something took (hop.c); 0 of none. */
typedef struct {
    uint64_t count;
    uint32_t median_us; /* to a sixteenth */
    uint32_t worst_us;
} hop_stats;

typedef struct {
    uint64_t taken_frames;
    uint64_t kept_frames; /* of these, heard while no lane had joined */
    uint64_t waiting_frames;
    uint64_t dropped_frames; /* messages that were not taken within two seconds, or could not be kept */
    uint64_t lane_messages;  /* played by a lane */
    uint64_t refused_bytes;  /* audio that found the playback queue full */
    uint32_t queued_ms;
    /* From a frame's making until the socket had taken its message; not of those that had to wait behind what
     * was kept. */
    hop_stats to_socket;
    /* From when audio came to the machine, as far as its kernel tells, until it was begun to be played; of
     * what found nothing queued before it, and not of each frame. */
    hop_stats to_engine;
} stream_stats;

port *stream_create(engine *e, const stream_options *options);
size_t stream_message_bytes(const port *p); /* the most that one of its messages has */
size_t stream_take(port *p, char *out);     /* the next message, its size; 0: none waits */
uint64_t stream_next(port *p);              /* counts a message of the caller's own; STREAM_SEQUENCE */

/* 1 queued, 0 refused: with it more than ten minutes or 128 MiB would wait. EINVAL: an odd L16 size or a rate
 * not carried. */
int stream_play(port *p, const void *audio, size_t size, int codec, uint32_t rate_hz);
int stream_clear(port *p, int64_t mark);
int stream_checkpoint(port *p, int64_t mark);
void stream_read_stats(port *p, stream_stats *out);

/* ---- lane: a stream's media messages on its WebSocket, past Python (lane.c) ---- */

/* Of a message that is played: what a length of 16 bits tells. */
enum { LANE_MOST_BYTES = 65535 };

typedef struct lane lane;

/* An audio message that was understood: every other one that differs only between these is one, too. */
typedef struct {
    const char *before, *after;
    uint32_t before_bytes, after_bytes;
    int codec;
    uint32_t rate_hz;
} lane_pattern;

enum lane_news {
    LANE_HANDED = 1, /* lane_take has bytes; until they are taken nothing is read */
    LANE_ENDED = 2,  /* nothing more will come */
    LANE_UNSENT = 4, /* lane_flush has something to do as soon as the socket is writable */
};

/* Whom lanes believe: the system's authorities, and those of a PEM file, if not NULL; TLS 1.2 and above.
 * EINVAL: there is no certificate in it. It may go before its lanes. */
typedef struct tls_trust tls_trust;
tls_trust *tls_trust_create(const char *ca);
void tls_trust_destroy(tls_trust *t); /* NULL is allowed */

/* A connected, non-blocking socket from the first byte on, not to be closed before lane_end. Trust NULL:
 * there is no TLS on it; else the host, a name in ASCII or an address, is who must answer. EINVAL: no host
 * can be called that. */
lane *lane_create(int fd, const tls_trust *trust, const char *host);
void lane_destroy(lane *l); /* NULL is allowed */
int lane_end(lane *l);      /* touches the socket no more; hands over what came; lane_news */

/* First of all, if there is TLS: now and whenever the socket is readable, until it is done (1). -1: it
 * failed. */
int lane_shake_hands(lane *l);
const char *lane_fault(lane *l); /* why TLS has failed or ended; empty: it was cut off, or said farewell */

/* The stream must be left before it is removed. Frames that it made before are not sent, unless it keeps
 * them. */
int lane_join(lane *l, port *stream);
void lane_leave(lane *l);
void lane_learn(lane *l, const lane_pattern *p); /* texts above 1024 bytes are not kept */

int lane_receive(lane *l); /* reads only; lane_news */

size_t lane_handed(lane *l);                    /* how much lane_take gives: what the lane does not know */
int lane_take(lane *l, void *out, size_t size); /* at most; lane_news */
int lane_obeyed(lane *l);                       /* one of the messages in it; lane_news */
bool lane_midway(lane *l); /* what comes next belongs to a frame that is being handed over */

/* All of it goes between two frames, now or when the socket takes it; lane_news. */
int lane_send(lane *l, const void *bytes, size_t size);
int lane_farewell(lane *l);       /* TLS's last word; lane_news */
int lane_flush(lane *l);          /* lane_news */
size_t lane_unsent(lane *l);      /* bytes that have not gone */
void lane_hold(lane *l, bool on); /* on: something else is to be sent before the next frame */

/* ---- lanes: their turns, in which each reads and sends what there is (lanes.c) ---- */

typedef struct lanes lanes;

lanes *lanes_create(void);
void lanes_destroy(lanes *all); /* stops the thread; NULL is allowed */

/* A lane that is midway is not read. When one was removed, no turn touches it any more; so it is when it is
 * destroyed. EBUSY: it is among others. */
int lanes_add(lanes *all, lane *l);
void lanes_remove(lane *l);

/* On a thread of their own, until lanes_stop: after each tick of this engine in which a stream heard
 * something, and again look_ms later. It makes engine_fd readable when one has news. EBUSY: it runs, or
 * another's does. EINVAL: not a millisecond. */
int lanes_start(lanes *all, engine *e, int look_ms);
bool lanes_running(const lanes *all);
void lanes_stop(lanes *all); /* so does the engine's end */

/* told: of each in the order in which they were added, lane_news if turns had some since the last time. By
 * hand, that is without the thread, there is a turn first. 0: none has any. */
int lanes_turn(lanes *all, uint8_t *told);

/* ---- player and recorder: sound from and to memory (memory.c) ---- */

port *player_create(engine *e, const int16_t *samples, size_t count, bool loop); /* the samples are copied */

/* Two sinks, written in the same tick; port_remove of the left one removes both. */
port *recorder_create(engine *e); /* the left one */
port *recorder_right(port *left);
/* Sample pairs, interleaved. These three may be called by any one thread, while the recorder is there. */
size_t recorder_waiting(const port *left);
size_t recorder_read(port *left, int16_t *out, size_t pairs);
uint64_t recorder_dropped_frames(const port *left); /* found the ring of ten seconds full */

/* ---- conference (conference.c) ---- */

/* Hears all that are connected to it; each of them that it is connected to hears it without itself. */
port *conference_create(engine *e);

/* ---- frames port: sound from and to the program (frames.c) ---- */

port *frames_create(engine *e);
bool frames_push(port *p, const int16_t *samples, size_t count); /* false: a second waits already */
bool frames_pull(port *p, int16_t *out);                         /* FRAME_SAMPLES; false: none waits */
uint64_t frames_dropped(const port *p); /* frames that were not pulled within a second */

/* ---- tones: made (tone.c), and found in what a port yields (progress.c) ---- */

enum { TONE_MOST_STEPS = 8, TONE_MOST_PATTERNS = 8 };

typedef struct {
    float hz, second_hz; /* 0: none; both: silence */
    float modulated_hz;  /* of the first one's amplitude; 0: steady */
    uint32_t ms;         /* 0: for ever */
} tone_step;

/* The level is each frequency's own. The steps are copied. EINVAL: none, or one behind another that is for
 * ever, frequencies from 4000 Hz on, or a level above +20 dBm0. */
port *tone_create(engine *e, const tone_step *steps, size_t count, bool loop, float level_dbm0);

typedef struct {
    uint32_t kind;   /* what EVENT_TONE tells */
    uint32_t cycles; /* that must have been heard */
    uint32_t steps;  /* a sound and a pause in turn, of the first one's frequencies; 1: a sound without end */
    tone_step step[TONE_MOST_STEPS];
} tone_pattern;

/* None of them: off. EINVAL: more than eight frequencies, sidebands included, or sixteen steps in all cycles.
 */
int port_detect_tones(port *p, const tone_pattern *patterns, size_t count);

/* ---- caller id (callerid.c) ---- */

enum caller_id_kind { CALLER_ID_NONE, CALLER_ID_BELL202, CALLER_ID_V23, CALLER_ID_KEYS };
enum { CALLER_ID_BYTES = 256 };

int port_detect_caller_id(port *p, int kind); /* in what the port yields; forgets what was not taken */
/* The oldest message, at most CALLER_ID_BYTES: type, length, content, or the characters of keys. 0: none. */
int port_take_caller_id(port *p, uint8_t *out);

/* The sound of a message in FSK; how many samples, 0: not one. Its length byte is put right. */
size_t caller_id_make(int kind, const uint8_t *bytes, size_t size, int16_t *out, size_t capacity);

/* ---- G.711 (codec.c); any thread ---- */

void alaw_encode(uint8_t *out, const int16_t *in, size_t count);
void alaw_decode(int16_t *out, const uint8_t *in, size_t count);
void ulaw_encode(uint8_t *out, const int16_t *in, size_t count);
void ulaw_decode(int16_t *out, const uint8_t *in, size_t count);

/* ---- resampling (resample.c); one thread at a time for each ---- */

typedef struct resampler resampler;

/* 16-bit samples of one rate to another. EINVAL: a ratio of two numbers above 640. */
resampler *resampler_create(uint32_t from_hz, uint32_t to_hz);
void resampler_destroy(resampler *r); /* NULL is allowed */
void resampler_clear(resampler *r);   /* forgets what it holds */

/* Samples that come out before the first one that went in does: what it holds when the input ends. */
uint32_t resampler_delay(const resampler *r);

/* Writes at most room samples, and returns how many; reads no more of in than they need, and sets count, of
 * the samples there are, to how many it has read. 20 ms give 20 ms, every time. */
uint32_t resampler_run(resampler *r, int16_t *out, uint32_t room, const int16_t *in, uint32_t *count);
