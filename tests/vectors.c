/* What codec.c, resample.c, fraction.c, frame.c and bank.c make, as a number for each function: the same
 * number is the same bits.
 *
 * How to use it: `./dev check --arm64` compiles and runs it as scalar code, as this machine's vector code,
 * and as arm64's under qemu, and compares. That the numbers stand for the right samples is shown by
 * test_codec.py, test_resample.py, test_matrix.py and test_dtmf.py. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bank.h"
#include "engine.h"
#include "fraction.h"
#include "frame.h"

/* FNV-1a. */
static void print_digest(const char *name, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    uint64_t digest = 0xcbf29ce484222325;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ p[i]) * 0x100000001b3;
    printf("%s %016llx\n", name, (unsigned long long)digest);
}

static void print_codec(void) {
    /* Blocks of every length up to two vectors and more, so that the rest of each is met, too. */
    enum { SAMPLES = 65536, MOST = 67 };
    static int16_t samples[SAMPLES], levels[SAMPLES];
    static uint8_t alaw[SAMPLES], ulaw[SAMPLES];
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (int16_t)(i - 32768);
    for (size_t at = 0, count = 1; at < SAMPLES; at += count, count = count % MOST + 1) {
        count = count < SAMPLES - at ? count : SAMPLES - at;
        alaw_encode(alaw + at, samples + at, count);
        ulaw_encode(ulaw + at, samples + at, count);
    }
    print_digest("alaw_encode", alaw, sizeof alaw);
    print_digest("ulaw_encode", ulaw, sizeof ulaw);
    alaw_decode(levels, alaw, SAMPLES);
    print_digest("alaw_decode", levels, sizeof levels);
    ulaw_decode(levels, ulaw, SAMPLES);
    print_digest("ulaw_decode", levels, sizeof levels);
}

static void print_resampled(uint32_t from_hz, uint32_t to_hz) {
    enum { MOST = 48000 };
    static int16_t noise[MOST], made[MOST];
    char name[64];
    uint32_t chance = 1, count = from_hz;
    for (int i = 0; i < MOST; i++) {
        chance = chance * 1664525 + 1013904223;
        noise[i] = (int16_t)(chance >> 16);
    }
    resampler *r = resampler_create(from_hz, to_hz);
    uint32_t n = r ? resampler_run(r, made, to_hz, noise, &count) : 0;
    resampler_destroy(r);
    snprintf(name, sizeof name, "%u to %u Hz: %u from %u", from_hz, to_hz, n, count);
    print_digest(name, made, n * sizeof *made);
}

static void print_fractions(void) {
    float noise[2 * FRAME_SAMPLES];
    int16_t made[FRAME_SAMPLES];
    uint32_t chance = 1;
    for (int i = 0; i < 2 * FRAME_SAMPLES; i++) {
        chance = chance * 1664525 + 1013904223;
        noise[i] = (int16_t)(chance >> 16);
    }
    fraction_init();
    fraction_run(made, FRAME_SAMPLES, noise, 12345, ((uint64_t)1 << 32) + 4000000);
    print_digest("fractions", made, sizeof made);
}

/* Two talk in a conference, one of them while his gain changes; he hears the other, and both with a third. */
static void print_frames(void) {
    static port talkers[3], conference;
    static int32_t sum[FRAME_SAMPLES];
    static meter peaks;
    int16_t heard[2 * FRAME_SAMPLES];
    uint32_t chance = 1;
    for (int i = 0; i < 3; i++)
        for (int at = 0; at < FRAME_SAMPLES; at++) {
            chance = chance * 1664525 + 1013904223;
            talkers[i].frame[at] = (int16_t)(chance >> 16);
        }
    connection loud = {.source = &talkers[0], .gain = 1, .from = 1, .to = 1};
    connection rising = {
        .next = &loud, .source = &talkers[1], .gain = 2, .from = 0.5f, .to = 0.5f, .ramp = 5};
    conference.sum = sum;
    conference.inputs = &rising;
    mix_conference(&conference);
    connection third = {.source = &talkers[2], .gain = 0.3f, .from = 0.3f, .to = 0.3f};
    connection all = {.source = &conference, .gain = 1, .from = 1, .to = 1, .own = &rising};
    mix(&all, heard);
    all.next = &third;
    mix(&all, heard + FRAME_SAMPLES);
    meter_note(&peaks, talkers[0].frame, 0);
    print_digest("conference", conference.frame, sizeof conference.frame);
    print_digest("heard in it", heard, sizeof heard);
    print_digest("peak", &peaks.most, sizeof peaks.most);
}

static void print_bank(int block, int blocks) {
    static const float hz[BANK_TONES] = {350, 440, 480, 620, 950, 1400, 1800};
    static bank b;
    int16_t noise[BANK_BLOCK_SAMPLES];
    char name[64];
    uint32_t chance = 1;
    bank_init(&b, hz, block, blocks);
    for (int i = 0; i < 2 * blocks; i++) {
        for (int at = 0; at < block; at++) {
            chance = chance * 1664525 + 1013904223;
            noise[at] = (int16_t)(chance >> 16);
        }
        bank_put(&b, noise);
    }
    bank_look(&b);
    snprintf(name, sizeof name, "bank of %d by %d", blocks, block);
    print_digest(name, &b.power, sizeof b.power + sizeof b.re + sizeof b.im + sizeof b.total);
}

int main(void) {
    static const uint32_t rates[] = {16000, 24000, 32000, 44100, 48000};
    print_codec();
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        print_resampled(RATE_HZ, rates[i]);
        print_resampled(rates[i], RATE_HZ);
    }
    print_fractions();
    print_frames();
    print_bank(20, 8);
    print_bank(40, 10);
    return 0;
}
