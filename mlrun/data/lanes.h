/* BLAKE3's compression of several inputs at once, one in each lane of a vector.
 *
 * tree.c includes this once for each width, with LANES (4, 8, 16), LOW and HIGH (which interleave two vectors),
 * HASH (the function's name) and TARGET (what the processor must have for it).
 * The algorithm and its constants: https://github.com/BLAKE3-team/BLAKE3-specs, sections 2.1 to 2.5.
 */

#define JOINED_(a, b) a##b
#define JOINED(a, b) JOINED_(a, b)
#define VECTOR JOINED(vector_, LANES)

typedef uint32_t VECTOR __attribute__((vector_size(4 * LANES)));

#define ROTATED(x, by) ((x) >> (by) | (x) << (32 - (by)))
#define MIX(a, b, c, d, x, y)             \
    a += b + (x), d = ROTATED(d ^ a, 16); \
    c += d, b = ROTATED(b ^ c, 12);       \
    a += b + (y), d = ROTATED(d ^ a, 8);  \
    c += d, b = ROTATED(b ^ c, 7)

/* Exactly LANES inputs; the digest (or chaining value) of each goes to where it wants it. */
TARGET static void HASH(const struct input *const *inputs) {
    VECTOR chain[8];
    uint32_t most = 1;
    for (int i = 0; i < 8; i++) chain[i] = (VECTOR){0} + initial[i];
    for (int lane = 0; lane < LANES; lane++)
        if (blocks_of(inputs[lane]) > most) most = blocks_of(inputs[lane]);
    for (uint32_t block = 0; block < most; block++) {
        VECTOR words[16], rows[LANES], next[LANES], low, length, flags, lives;
        for (int lane = 0; lane < LANES; lane++) {
            const struct input *input = inputs[lane];
            uint32_t last = blocks_of(input) - 1;
            lives[lane] = block <= last ? ~0u : 0;
            low[lane] = input->counter;
            length[lane] = block < last ? 64 : input->length - 64 * last;
            flags[lane] = input->flags | (block == 0 ? input->first : 0) | (block == last ? input->last : 0);
        }
        for (int part = 0; part < 16 / LANES; part++) { /* words of inputs into inputs of words */
            for (int lane = 0; lane < LANES; lane++) {
                uint32_t at = lives[lane] ? block : 0;
                memcpy(&rows[lane], inputs[lane]->data + 64 * at + 4 * LANES * part, sizeof rows[lane]);
            }
#pragma GCC unroll 4
            for (int stage = 1; stage < LANES; stage *= 2) {
#pragma GCC unroll 16
                for (int i = 0; i < LANES / 2; i++) {
                    next[2 * i] = INTERLEAVED(VECTOR, rows[i], rows[i + LANES / 2], LOW);
                    next[2 * i + 1] = INTERLEAVED(VECTOR, rows[i], rows[i + LANES / 2], HIGH);
                }
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i++) rows[i] = next[i];
            }
            for (int i = 0; i < LANES; i++) words[part * LANES + i] = rows[i];
        }
        VECTOR v[16];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) v[i] = chain[i];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) v[8 + i] = (VECTOR){0} + initial[i];
        v[12] = low, v[13] = (VECTOR){0}, v[14] = length, v[15] = flags;
#pragma GCC unroll 7
        for (int round = 0; round < 7; round++) {
            const uint8_t *order = schedule[round];
            MIX(v[0], v[4], v[8], v[12], words[order[0]], words[order[1]]);
            MIX(v[1], v[5], v[9], v[13], words[order[2]], words[order[3]]);
            MIX(v[2], v[6], v[10], v[14], words[order[4]], words[order[5]]);
            MIX(v[3], v[7], v[11], v[15], words[order[6]], words[order[7]]);
            MIX(v[0], v[5], v[10], v[15], words[order[8]], words[order[9]]);
            MIX(v[1], v[6], v[11], v[12], words[order[10]], words[order[11]]);
            MIX(v[2], v[7], v[8], v[13], words[order[12]], words[order[13]]);
            MIX(v[3], v[4], v[9], v[14], words[order[14]], words[order[15]]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) chain[i] = ((v[i] ^ v[i + 8]) & lives) | (chain[i] & ~lives);
    }
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < 8; i++) {
            uint32_t word = chain[i][lane];
            memcpy(inputs[lane]->out + 4 * i, &word, 4);
        }
}

#undef JOINED_
#undef JOINED
#undef VECTOR
#undef ROTATED
#undef MIX
#undef LANES
#undef LOW
#undef HIGH
#undef HASH
#undef TARGET
