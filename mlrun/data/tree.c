/* What lies in a folder, and the BLAKE3 digests of its files: with all cores, and without Python's cost a file.
 *
 *     tree THREADS LANES OLD NEW PROVEN      in the folder; at most so many LANES are used to hash
 *
 * OLD is what is remembered of it, or nothing: what has the stamp that it had is not read again. NEW is written in the
 * same format (see memory.py), unless all is as it was; a stamp whose times are not before PROVEN (ns) proves nothing.
 * Standard input: a length (int64), and so many bytes of names, each ended by NUL. With names, only those files are
 * looked at (links are followed), else all that lies in the folder (links are told).
 * Standard output: `struct answer`. Standard error: the number of files to read and a newline, then a dot for each 500.
 *
 * What is told of each name is told in the order of names as bytes: a stamp of five int64 (inode, size, mtime and ctime
 * in ns, mode; of a folder, which is told only if nothing lies in it, the mode); a digest of 32 bytes (zeros of what is
 * no file); of a link, where it leads to. An inode of -1 says that there is no digest, and the size why: an errno or one
 * of the PROBLEMs.
 */

#define _GNU_SOURCE
#define MAGIC "mlrun/stat/v2\n"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHANGED = -1, SPECIAL = -2, LARGE = -3 }; /* PROBLEMs; the large are left to our caller */
enum { SMALL = 4 << 20 };                        /* bytes up to which a file is read in one piece */
enum { AT_ONCE = 64, ENOUGH = 1 << 17 };         /* files, and bytes, that are hashed together: they stay in L2 */
enum { BATCH = 500 };
enum { INODE, SIZE, MTIME, CTIME, MODE, STAMP };
enum { DIGEST = 32, CHUNK = 1024 };

struct entry {
    char *path;
    const char *target;
    struct folder *inside;
    int64_t stamp[STAMP];
    uint8_t digest[DIGEST];
    int known;
};

struct folder {
    char *path; /* empty, or ending in a slash */
    struct entry *self;
    struct folder *next; /* to be listed, or (after that) sorted */
    struct entry **entries;
    size_t count;
    int problem;
};

struct answer {
    int64_t same;  /* all is as remembered; else NEW was written */
    int64_t whole; /* the rest can be told */
    int64_t links, files, size;
    uint8_t digest[DIGEST]; /* of the manifest */
};

struct header { /* follows MAGIC */
    uint8_t digest[DIGEST];
    int64_t size, files;
    int64_t lengths[4]; /* of names, stamps, digests, targets */
};

struct memory {
    struct header header;
    const char *names;
    const uint8_t *stamps, *digests;
    size_t count;
};

struct bytes {
    char *data;
    size_t length, room;
};

static int root, threads, by_name; /* `root` is a descriptor */
static struct memory remembered;

static void *checked(void *memory) {
    if (!memory) _exit(2);
    return memory;
}

static void add(struct bytes *to, const void *data, size_t length) {
    if (to->length + length > to->room) {
        to->room = 2 * to->room + length + 4096;
        to->data = checked(realloc(to->data, to->room));
    }
    memcpy(to->data + to->length, data, length);
    to->length += length;
}

static void add_text(struct bytes *to, const char *text) { add(to, text, strlen(text)); }

/* Memory that lives as long as we do. */
static void *lasting(size_t size) {
    static _Thread_local char *block;
    static _Thread_local size_t left;
    size = (size + 7) & ~(size_t)7;
    if (size > left) {
        left = size > 1 << 18 ? size : 1 << 18;
        block = checked(malloc(left));
    }
    void *found = block;
    block += size;
    left -= size;
    return found;
}

static void *begun(void *work) {
#ifdef CLONE_FILES
    unshare(CLONE_FILES); /* opening files is quicker for who shares no table of them; no matter if it may not */
#endif
    ((void (*)(void))work)();
    return NULL;
}

static void in_threads(void (*work)(void)) {
    pthread_t *started = checked(calloc(threads, sizeof *started));
    int count = 0;
    while (count < threads - 1 && !pthread_create(&started[count], NULL, begun, (void *)work)) count++;
    work();
    while (count) pthread_join(started[--count], NULL);
    free(started);
}

/* --- BLAKE3 ---------------------------------------------------------------------------------------------------- */

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

struct input {
    const uint8_t *data; /* up to a whole number of blocks may be read */
    uint8_t *out;
    uint32_t length, counter;
    uint8_t flags, first, last;
};

static const uint32_t initial[8] = {
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
};

static const uint8_t schedule[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1}, {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

static uint32_t blocks_of(const struct input *input) { return input->length ? (input->length + 63) / 64 : 1; }

#ifdef __clang__
#define INTERLEAVED(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define INTERLEAVED(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif

#define LANES 4
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#define HASH hash_4
#define TARGET
#include "lanes.h"

#ifdef __x86_64__
#define LANES 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define HASH hash_8
#define TARGET __attribute__((target("avx2")))
#include "lanes.h"

#define LANES 16
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define HASH hash_16
#define TARGET __attribute__((target("avx512f")))
#include "lanes.h"
#endif

static int lanes = 4;
static void (*hash_lanes)(const struct input *const *) = hash_4;

static void choose_lanes(int most) {
    (void)most;
#ifdef __x86_64__
    if (most >= 8 && __builtin_cpu_supports("avx2")) lanes = 8, hash_lanes = hash_8;
    if (most >= 16 && __builtin_cpu_supports("avx512f")) lanes = 16, hash_lanes = hash_16;
#endif
}

static void hash_inputs(const struct input *inputs, size_t count) {
    static const uint8_t zeros[64];
    uint8_t nowhere[DIGEST];
    const struct input none = {.data = zeros, .out = nowhere};
    const struct input *few[16];
    for (size_t at = 0; at < count; at += lanes) {
        for (int lane = 0; lane < lanes; lane++) few[lane] = at + lane < count ? &inputs[at + lane] : &none;
        hash_lanes(few);
    }
}

struct content {
    const uint8_t *data; /* zeros follow, up to a whole block and at least one */
    size_t length;
    uint8_t *digest;
};

static size_t chunks_of(size_t length) { return length ? (length + CHUNK - 1) / CHUNK : 1; }

/* Many contents at once: all their chunks, then all pairs of these, pairs of pairs, and so on. */
static void hash(const struct content *contents, size_t count) {
    size_t chunks = 0, used = 0;
    for (size_t i = 0; i < count; i++) chunks += chunks_of(contents[i].length);
    struct input *inputs = checked(malloc(chunks * sizeof *inputs));
    uint8_t *from = checked(malloc(2 * chunks * DIGEST)), *to = from + chunks * DIGEST, *both = from;
    size_t *left = checked(malloc(count * sizeof *left));
    for (size_t i = 0; i < count; i++) {
        left[i] = chunks_of(contents[i].length);
        for (size_t chunk = 0; chunk < left[i]; chunk++, used++)
            inputs[used] = (struct input){
                .data = contents[i].data + chunk * CHUNK,
                .out = left[i] == 1 ? contents[i].digest : from + used * DIGEST,
                .length = chunk + 1 < left[i] ? CHUNK : contents[i].length - chunk * CHUNK,
                .counter = chunk,
                .first = CHUNK_START,
                .last = CHUNK_END | (left[i] == 1 ? ROOT : 0),
            };
    }
    while (used) {
        hash_inputs(inputs, used);
        used = 0;
        uint8_t *source = from, *sink = to;
        for (size_t i = 0; i < count; i++) {
            for (size_t pair = 0; pair < left[i] / 2; pair++)
                inputs[used++] = (struct input){
                    .data = source + 2 * pair * DIGEST,
                    .out = left[i] == 2 ? contents[i].digest : sink + pair * DIGEST,
                    .length = 2 * DIGEST,
                    .flags = PARENT | (left[i] == 2 ? ROOT : 0),
                };
            if (left[i] % 2) memcpy(sink + left[i] / 2 * DIGEST, source + (left[i] - 1) * DIGEST, DIGEST);
            size_t all = chunks_of(contents[i].length) * DIGEST;
            source += all, sink += all;
            left[i] = (left[i] + 1) / 2;
        }
        uint8_t *other = from;
        from = to, to = other;
    }
    free(left), free(both), free(inputs);
}

/* --- what lies in the folder ------------------------------------------------------------------------------------- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct folder *waiting, *listed;
static size_t unlisted;

static int64_t ns(struct timespec time) { return time.tv_sec * INT64_C(1000000000) + time.tv_nsec; }

static void stamp(struct entry *entry, const struct stat *status) {
    entry->stamp[INODE] = status->st_ino;
    entry->stamp[SIZE] = status->st_size;
    entry->stamp[MTIME] = ns(status->st_mtim);
    entry->stamp[CTIME] = ns(status->st_ctim);
    entry->stamp[MODE] = status->st_mode;
}

static void stamp_problem(struct entry *entry, int problem, mode_t mode) {
    entry->stamp[INODE] = -1;
    entry->stamp[SIZE] = problem;
    entry->stamp[MTIME] = entry->stamp[CTIME] = 0;
    entry->stamp[MODE] = mode;
}

static const char *target_of(int folder, const char *name) {
    char text[4096];
    ssize_t length = readlinkat(folder, name, text, sizeof text - 1);
    text[length < 0 ? 0 : length] = 0;
    return strcpy(lasting(strlen(text) + 1), text);
}

static struct entry *new_entry(const char *folder, const char *name) {
    size_t before = strlen(folder), after = strlen(name);
    struct entry *entry = lasting(sizeof *entry);
    memset(entry, 0, sizeof *entry);
    entry->path = lasting(before + after + 2); /* room for the slash of a folder */
    memcpy(entry->path, folder, before);
    memcpy(entry->path + before, name, after + 1);
    return entry;
}

static void wait_for_listing(struct folder *folder) {
    pthread_mutex_lock(&mutex);
    folder->next = waiting;
    waiting = folder;
    unlisted++;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&mutex);
}

static void look_at(struct entry *entry, int folder, const struct dirent *found) {
    struct stat status = {0};
    int type = found->d_type;
    /* Where nothing is remembered, a file's stamp is that of its reading. */
    if ((type != DT_REG || remembered.count) && type != DT_DIR) {
        if (fstatat(folder, found->d_name, &status, AT_SYMLINK_NOFOLLOW)) {
            stamp_problem(entry, errno, 0);
            return;
        }
        stamp(entry, &status);
        type = IFTODT(status.st_mode);
    }
    if (type == DT_LNK) entry->target = target_of(folder, found->d_name);
    if (type == DT_REG) entry->stamp[MODE] |= S_IFREG;
    if (type != DT_DIR) return;
    struct folder *inside = entry->inside = lasting(sizeof *inside);
    memset(entry->stamp, 0, sizeof entry->stamp);
    memset(inside, 0, sizeof *inside);
    entry->stamp[MODE] = S_IFDIR;
    inside->path = strcat(entry->path, "/");
    inside->self = entry;
    wait_for_listing(inside);
}

static void list(struct folder *folder) {
    int descriptor = openat(root, *folder->path ? folder->path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *stream = descriptor < 0 ? NULL : fdopendir(descriptor);
    size_t room = 0;
    if (stream) {
        const struct dirent *found;
        while (errno = 0, found = readdir(stream)) {
            if (!strcmp(found->d_name, ".") || !strcmp(found->d_name, "..")) continue;
            if (folder->count == room) {
                room = 2 * room + 16;
                folder->entries = checked(realloc(folder->entries, room * sizeof *folder->entries));
            }
            struct entry *entry = folder->entries[folder->count++] = new_entry(folder->path, found->d_name);
            look_at(entry, descriptor, found);
        }
    }
    folder->problem = errno;
    if (stream) closedir(stream);
    if (!folder->count && folder->self) folder->path[strlen(folder->path) - 1] = 0;
}

static void list_all(void) {
    pthread_mutex_lock(&mutex);
    while (unlisted) {
        struct folder *folder = waiting;
        if (!folder) {
            pthread_cond_wait(&more, &mutex);
            continue;
        }
        waiting = folder->next;
        pthread_mutex_unlock(&mutex);
        list(folder);
        pthread_mutex_lock(&mutex);
        folder->next = listed;
        listed = folder;
        if (!--unlisted) pthread_cond_broadcast(&more);
    }
    pthread_mutex_unlock(&mutex);
}

static int by_path(const void *one, const void *other) {
    return strcmp((*(struct entry *const *)one)->path, (*(struct entry *const *)other)->path);
}

static void sort_all(void) {
    for (;;) {
        pthread_mutex_lock(&mutex);
        struct folder *folder = listed;
        if (folder) listed = folder->next;
        pthread_mutex_unlock(&mutex);
        if (!folder) return;
        if (folder->count) qsort(folder->entries, folder->count, sizeof *folder->entries, by_path);
    }
}

static struct entry **entries;
static size_t count, room;

static void append(struct entry *entry) {
    if (count == room) {
        room = 2 * room + 1024;
        entries = checked(realloc(entries, room * sizeof *entries));
    }
    entries[count++] = entry;
}

static void flatten(const struct folder *folder) {
    for (size_t i = 0; i < folder->count; i++) {
        struct entry *entry = folder->entries[i];
        const struct folder *inside = entry->inside;
        if (inside && inside->problem) stamp_problem(entry, inside->problem, S_IFDIR);
        if (!inside || !inside->count || inside->problem) append(entry);
        if (inside) flatten(inside);
    }
}

static void walk(void) {
    static struct folder top = {.path = ""};
    wait_for_listing(&top);
    in_threads(list_all);
    if (top.problem) _exit(2);
    in_threads(sort_all);
    flatten(&top);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static struct entry **unread;
static size_t unread_count, taken, done;

static void look_at_names(void) {
    for (size_t i; (i = __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED)) < count;) {
        struct stat status;
        if (fstatat(root, entries[i]->path, &status, 0))
            stamp_problem(entries[i], errno, 0);
        else
            stamp(entries[i], &status);
        if (S_ISDIR(entries[i]->stamp[MODE])) memset(entries[i]->stamp, 0, MODE * sizeof *entries[i]->stamp);
    }
}

/* Read a file; `buffer` has room for one byte more than SMALL. */
static void read_once(struct entry *entry, uint8_t *buffer) {
    struct stat status;
    struct entry after = {0};
    /* A pipe in place of a file must not hold us. */
    int descriptor = openat(root, entry->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (by_name ? 0 : O_NOFOLLOW));
    if (descriptor < 0) {
        stamp_problem(entry, errno, 0);
        return;
    }
    int problem = fstat(descriptor, &status) ? errno : 0;
    if (!problem && !S_ISREG(status.st_mode)) problem = SPECIAL;
    if (!problem && status.st_size > SMALL) problem = LARGE;
    if (!problem) {
        ssize_t got = 0, now = 1;
        stamp(entry, &status);
        do { /* a byte more than there should be: what has grown, or tells no size, is noticed */
            now = read(descriptor, buffer + got, status.st_size + 1 - got);
            if (now > 0) got += now;
        } while (now > 0 && got < status.st_size);
        if (now < 0 || fstat(descriptor, &status))
            problem = errno;
        else
            stamp(&after, &status);
        if (!problem && (got != entry->stamp[SIZE] || memcmp(entry->stamp, after.stamp, sizeof after.stamp)))
            problem = CHANGED;
    }
    if (problem) stamp_problem(entry, problem, 0);
    close(descriptor);
}

static void tell_progress(size_t files) {
    size_t before = __atomic_fetch_add(&done, files, __ATOMIC_RELAXED);
    for (size_t dots = (before + files) / BATCH - before / BATCH; dots; dots--)
        if (write(2, ".", 1) != 1) return;
}

static void read_all(void) {
    uint8_t *buffer = checked(malloc(ENOUGH + SMALL + 128)); /* touched as far as files are large */
    for (size_t first; (first = __atomic_fetch_add(&taken, AT_ONCE, __ATOMIC_RELAXED)) < unread_count;) {
        struct content contents[AT_ONCE];
        size_t ready = 0, used = 0, end = first + AT_ONCE < unread_count ? first + AT_ONCE : unread_count;
        for (size_t i = first; i < end; i++) {
            struct entry *entry = unread[i];
            read_once(entry, buffer + used);
            if (entry->stamp[INODE] == -1 && entry->stamp[SIZE] == CHANGED) read_once(entry, buffer + used);
            if (entry->stamp[INODE] != -1) {
                size_t size = entry->stamp[SIZE], whole = size ? (size + 63) / 64 * 64 : 64;
                memset(buffer + used + size, 0, whole - size);
                contents[ready++] = (struct content){buffer + used, size, entry->digest};
                used += whole;
            }
            if (used >= ENOUGH || i + 1 == end) hash(contents, ready), ready = used = 0;
        }
        tell_progress(end - first);
    }
    free(buffer);
}

/* --- what is remembered ------------------------------------------------------------------------------------------- */

/* Give what has not changed its digest; whether that is all, and nothing has gone. */
static int recall(void) {
    const char *name = remembered.names;
    size_t at = 0, same = 0;
    for (size_t i = 0; i < count && at < remembered.count;) {
        int order = strcmp(entries[i]->path, name);
        if (order == 0 && !memcmp(entries[i]->stamp, remembered.stamps + at * sizeof entries[i]->stamp, sizeof entries[i]->stamp)) {
            memcpy(entries[i]->digest, &remembered.digests[at * DIGEST], DIGEST);
            entries[i]->known = 1;
            same++;
        }
        if (order <= 0) i++;
        if (order >= 0) at++, name += strlen(name) + 1;
    }
    return remembered.count && same == count && same == remembered.count;
}

static void read_rest(void) {
    unread = checked(malloc((count + 1) * sizeof *unread));
    for (size_t i = 0; i < count; i++)
        if (S_ISREG(entries[i]->stamp[MODE])) {
            if (!entries[i]->known) unread[unread_count++] = entries[i];
        } else if (!S_ISDIR(entries[i]->stamp[MODE]) && !entries[i]->target && entries[i]->stamp[INODE] != -1)
            stamp_problem(entries[i], SPECIAL, 0);
    dprintf(2, "%zu\n", unread_count);
    taken = 0;
    in_threads(read_all);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

static int is_plain(const char *text) {
    for (; *text; text++)
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\') return 0;
    return 1;
}

/* The digest of the manifest as trees.py writes it; no `whole` where something has no digest, or a name not just plain
 * letters. */
static void tell_whole(struct answer *answer) {
    struct bytes written = {0}, *text = &written;
    static const char digits[] = "0123456789abcdef";
    add_text(text, "{\"entries\":[");
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = entries[i];
        char size[32], hex[2 * DIGEST];
        if (entry->stamp[INODE] == -1 || !is_plain(entry->path) || (entry->target && !is_plain(entry->target)))
            return;
        if (i) add(text, ",", 1);
        if (S_ISREG(entry->stamp[MODE])) {
            for (int k = 0; k < DIGEST; k++)
                hex[2 * k] = digits[entry->digest[k] >> 4], hex[2 * k + 1] = digits[entry->digest[k] & 15];
            add_text(text, "{\"digest\":\"blake3:");
            add(text, hex, sizeof hex);
            add_text(text, entry->stamp[MODE] & S_IXUSR ? "\",\"mode\":\"100755\"" : "\",\"mode\":\"100644\"");
            answer->files++;
            answer->size += entry->stamp[SIZE];
        } else
            add_text(text, entry->target ? "{\"mode\":\"120000\"" : "{\"mode\":\"040000\"");
        add_text(text, ",\"path\":\"");
        add_text(text, entry->path);
        add_text(text, "\"");
        if (entry->target) add_text(text, ",\"target\":\""), add_text(text, entry->target), add_text(text, "\"");
        if (S_ISREG(entry->stamp[MODE]))
            add(text, size, snprintf(size, sizeof size, ",\"size\":%lld", (long long)entry->stamp[SIZE]));
        add_text(text, "}");
    }
    add_text(text, "],\"format\":\"mlrun/manifest/v1\"}");
    size_t length = text->length;
    add(text, (char[64]){0}, 64); /* the last block is read whole */
    hash(&(struct content){(uint8_t *)text->data, length, answer->digest}, 1);
    answer->whole = 1;
}

static void put(int sink, const void *data, size_t length) {
    for (ssize_t now; length; data = (const char *)data + now, length -= now)
        if ((now = write(sink, data, length)) < 0) _exit(2);
}

static void remember(const char *path, const struct answer *answer, int64_t proven) {
    struct header header = {.size = answer->size, .files = answer->files};
    struct bytes body = {0};
    memcpy(header.digest, answer->digest, DIGEST);
    add_text(&body, MAGIC);
    add(&body, &header, sizeof header);
    size_t start = body.length, at = start, *length = (size_t[4]){0};
    for (size_t i = 0; i < count; i++) add(&body, entries[i]->path, strlen(entries[i]->path) + 1);
    length[0] = body.length - at, at = body.length;
    for (size_t i = 0; i < count; i++) {
        int64_t *stamp = entries[i]->stamp;
        if (stamp[MTIME] >= proven || stamp[CTIME] >= proven) stamp[CTIME] = -1;
        add(&body, stamp, sizeof entries[i]->stamp);
    }
    length[1] = body.length - at, at = body.length;
    for (size_t i = 0; i < count; i++) add(&body, entries[i]->digest, DIGEST);
    length[2] = body.length - at, at = body.length;
    for (size_t i = 0; i < count; i++)
        if (entries[i]->target) add(&body, entries[i]->target, strlen(entries[i]->target) + 1);
    length[3] = body.length - at;
    for (int part = 0; part < 4; part++) header.lengths[part] = length[part];
    memcpy(body.data + start - sizeof header, &header, sizeof header);
    uint8_t checksum[DIGEST];
    size_t all = body.length;
    add(&body, (char[64]){0}, 64); /* the last block is read whole */
    hash(&(struct content){(uint8_t *)body.data, all, checksum}, 1);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) _exit(2);
    put(file, body.data, all);
    put(file, checksum, DIGEST);
    if (close(file)) _exit(2);
}

/* --- the question ------------------------------------------------------------------------------------------------- */

static char *get(int source, size_t length) {
    char *data = checked(calloc(1, length + 64));
    size_t got = 0;
    for (ssize_t now; got < length; got += now)
        if ((now = read(source, data + got, length - got)) <= 0) _exit(2);
    return data;
}

/* What is damaged is not remembered. */
static void load(const char *path) {
    const size_t before = sizeof MAGIC - 1 + sizeof(struct header);
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) || (size_t)status.st_size < before + DIGEST) return;
    size_t length = status.st_size - DIGEST;
    char *body = get(file, status.st_size);
    uint8_t written[DIGEST], checksum[DIGEST];
    close(file);
    memcpy(written, body + length, DIGEST);
    memset(body + length, 0, DIGEST);
    hash(&(struct content){(uint8_t *)body, length, checksum}, 1);
    if (memcmp(body, MAGIC, sizeof MAGIC - 1) || memcmp(written, checksum, DIGEST)) return;
    struct header *header = &remembered.header;
    memcpy(header, body + sizeof MAGIC - 1, sizeof *header);
    remembered.names = body + before;
    remembered.stamps = (uint8_t *)body + before + header->lengths[0];
    remembered.digests = remembered.stamps + header->lengths[1];
    remembered.count = header->lengths[1] / (STAMP * sizeof(int64_t));
}

int main(int words, char **word) {
    if (words != 6 || (threads = atoi(word[1])) < 1) return 2;
    root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return 2;
    choose_lanes(atoi(word[2]));
    load(word[3]);
    int64_t length;
    memcpy(&length, get(0, sizeof length), sizeof length);
    const char *names = get(0, length);
    by_name = length > 0;
    if (by_name) {
        for (const char *name = names; name < names + length; name += strlen(name) + 1) append(new_entry("", name));
        in_threads(look_at_names);
    } else
        walk();
    struct answer answer = {0};
    for (size_t i = 0; i < count; i++) answer.links += entries[i]->target != NULL;
    if (recall()) {
        answer.same = answer.whole = 1;
        answer.files = remembered.header.files, answer.size = remembered.header.size;
        memcpy(answer.digest, remembered.header.digest, DIGEST);
    } else {
        read_rest();
        tell_whole(&answer);
        remember(word[4], &answer, atoll(word[5]));
    }
    put(1, &answer, sizeof answer);
    return 0;
}
