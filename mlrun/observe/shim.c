/* Which files a program opens, and what it looks for, told by the program itself: a library that LD_PRELOAD puts
 * before libc.
 *
 * MLRUN_OBSERVE names a folder. Its file `rules` holds texts, each ended by NUL: `!` and our own path (`?` where
 * it is to be told as well what a program only looks for), then `-` or `+` and the beginning of a path (the first
 * that fits decides; what none fits is told). What is told
 * goes into files `log.*` of the folder, mapped into memory: a record costs a copy and no system call, needs
 * no descriptor, is in order among threads and forked processes (an atomic addition reserves its place), and
 * outlives whatever kills the process. The space is allocated before it is used, so that a full disk is an
 * error code and not a signal.
 *
 * It is linked with nothing but a name (libdl.so.2), and refers to libc without versions: so the same file
 * loads in older and newer glibc, and in musl. `errno` is kept, nothing is locked, no memory is taken from
 * malloc; before its constructor has run it only passes on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define LONGEST 4096

extern char **environ;

/* --- the log ------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t used, capacity;
} chunk_t;

typedef struct {
    uint32_t length; /* with both paths, a multiple of eight */
    uint32_t kind;   /* a letter; written last */
    uint64_t time;   /* ns since 1970 */
    uint64_t size;
    int64_t modified; /* ns since 1970 */
    uint32_t flags;   /* those of open(2) */
    uint32_t pid;
} record_t;

static int active, looks;
static char folder[LONGEST];
static const char *rules, *rules_end, *own_path;
static chunk_t *chunk;
static uint64_t next_capacity = 4096;
static unsigned failures, serial;

static int raw_open(const char *path, int flags, int mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static void raw_close(int descriptor) { syscall(SYS_close, descriptor); }

static char *put_text(char *at, const char *text) {
    size_t length = strlen(text);
    memcpy(at, text, length);
    at[length] = 0;
    return at + length;
}

static char *put_number(char *at, uint64_t number) {
    char digits[24];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count)
        *at++ = digits[--count];
    *at = 0;
    return at;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void say_incomplete(void) {
    char path[LONGEST + 16];
    put_text(put_text(path, folder), "/incomplete");
    int descriptor = raw_open(path, O_WRONLY | O_CREAT, 0644);
    if (descriptor >= 0)
        raw_close(descriptor);
}

/* Where a file may not be so large (`ulimit -f`), to try would end the program by a signal. */
static int is_allowed(uint64_t size) {
    uint64_t limits[2];
    return syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0L, limits) != 0 || limits[0] >= size;
}

static int allocate(int descriptor, uint64_t size) {
    static const char zeros[4096];
    if (syscall(SYS_fallocate, descriptor, 0, 0L, (long)size) == 0)
        return 1;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return 0;
    for (uint64_t done = 0; done < size; done += sizeof zeros)
        if (syscall(SYS_write, descriptor, zeros, sizeof zeros) != (long)sizeof zeros)
            return 0;
    return 1;
}

/* A new place to write to, unless another thread has made one meanwhile; false where there can be none. */
static int renew(chunk_t *old) {
    char path[LONGEST + 80];
    uint64_t size = next_capacity;
    if (!is_allowed(size))
        return 0;
    char *at = put_text(put_text(path, folder), "/log.");
    at = put_number(at, (uint64_t)syscall(SYS_getpid));
    *at++ = '.';
    at = put_number(at, __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    *at++ = '.';
    put_number(at, now());
    int descriptor = raw_open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
    if (descriptor < 0)
        return 0;
    void *mapped = MAP_FAILED;
    if (allocate(descriptor, size))
        mapped = (void *)syscall(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0L);
    raw_close(descriptor);
    if (mapped == MAP_FAILED) {
        syscall(SYS_unlinkat, AT_FDCWD, path, 0);
        return 0;
    }
    chunk_t *fresh = mapped;
    fresh->used = sizeof *fresh;
    fresh->capacity = size;
    if (!__atomic_compare_exchange_n(&chunk, &old, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        syscall(SYS_munmap, mapped, size);
        syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    } else if (size < 1 << 20) {
        next_capacity = size * 8;
    }
    return 1;
}

static record_t *reserve(uint32_t length) {
    while (failures < 16) {
        chunk_t *here = __atomic_load_n(&chunk, __ATOMIC_ACQUIRE);
        if (here) {
            uint64_t at = __atomic_fetch_add(&here->used, length, __ATOMIC_ACQ_REL);
            if (at + length <= here->capacity) {
                record_t *record = (record_t *)((char *)here + at);
                __atomic_store_n(&record->length, length, __ATOMIC_RELEASE);
                return record;
            }
        }
        if (!here && next_capacity < 2 * (uint64_t)length)
            next_capacity = 65536;
        if (!renew(here)) {
            failures++;
            say_incomplete();
            return 0;
        }
    }
    return 0;
}

static void tell(char kind, const char *path, const char *second, const struct stat *status, int flags) {
    size_t first = strlen(path) + 1, rest = second ? strlen(second) + 1 : 0;
    record_t *record = reserve((uint32_t)((sizeof *record + first + rest + 7) & ~(size_t)7));
    if (!record)
        return;
    memcpy((char *)(record + 1), path, first);
    if (second)
        memcpy((char *)(record + 1) + first, second, rest);
    record->time = now();
    record->pid = (uint32_t)syscall(SYS_getpid);
    record->flags = (uint32_t)flags;
    if (status) {
        record->size = (uint64_t)status->st_size;
        record->modified = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
    }
    __atomic_store_n(&record->kind, (uint32_t)kind, __ATOMIC_RELEASE);
}

/* --- what is told, and told once ------------------------------------------------------------------------ */

static int is_wanted(const char *path) {
    for (const char *rule = rules; rule < rules_end; rule += strlen(rule) + 1) {
        const char *prefix = rule + 1, *at = path;
        while (*prefix && *prefix == *at)
            prefix++, at++;
        if (*prefix)
            continue;
        if (*rule == '-' && !strstr(path, "/../"))
            return 0;
        break;
    }
    return !strstr(path, "/site-packages/") && !strstr(path, "/dist-packages/") && !strstr(path, "/lib/python") &&
           !strstr(path, "/.git/");
}

#define FIRST_SLOTS 8192
static uint64_t first_slots[FIRST_SLOTS];
typedef struct {
    uint64_t *slots;
    uint64_t mask, taken;
} table_t;
static table_t first_table = {first_slots, FIRST_SLOTS - 1, 0};
static table_t *table = &first_table;

/* What the old table held may be told once more; it stays mapped, for somebody may be reading it. */
static void grow(table_t *old) {
    uint64_t count = (old->mask + 1) * 4;
    if (count > 1 << 24)
        return;
    char *mapped = (char *)syscall(SYS_mmap, 0, sizeof(table_t) + count * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
    if (mapped == MAP_FAILED)
        return;
    table_t *fresh = (table_t *)mapped;
    fresh->slots = (uint64_t *)(mapped + sizeof(table_t));
    fresh->mask = count - 1;
    if (!__atomic_compare_exchange_n(&table, &old, fresh, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        syscall(SYS_munmap, mapped, sizeof(table_t) + count * sizeof(uint64_t));
}

static uint64_t mixed(uint64_t hash) {
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ hash >> 32;
}

static int is_new(char kind, const char *path, uint64_t place) {
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)kind ^ place << 8;
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
    hash = mixed(hash) | 1;
    table_t *here = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
    for (uint64_t at = hash, tries = 0; tries < 32; at++, tries++) {
        uint64_t *slot = &here->slots[at & here->mask], seen = __atomic_load_n(slot, __ATOMIC_RELAXED);
        if (seen == hash)
            return 0;
        if (seen)
            continue;
        if (__atomic_compare_exchange_n(slot, &seen, hash, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            if (__atomic_add_fetch(&here->taken, 1, __ATOMIC_RELAXED) == (here->mask + 1) / 4 * 3)
                grow(here);
            return 1;
        }
        if (seen == hash)
            return 0;
    }
    return 1;
}

static uint64_t moves;   /* how often the working directory has changed */
static uint64_t renames; /* how often something got another name, be it a folder above us */

/* The working directory, asked for once: the question costs as much as all the rest of telling a file. Threads may
 * ask at once, so that `turn` is odd while somebody writes. A process that shares our memory until it starts a
 * program (vfork) shares this too; where one that did not begin here goes elsewhere, nothing is kept any more. */
static struct {
    uint32_t turn, begun_by, given_up;
    uint64_t place;
    long length;
    char text[LONGEST];
} here;

static long working_directory(char *buffer) {
    uint64_t place = __atomic_load_n(&moves, __ATOMIC_ACQUIRE) + __atomic_load_n(&renames, __ATOMIC_ACQUIRE);
    uint32_t turn = __atomic_load_n(&here.turn, __ATOMIC_ACQUIRE);
    int may_keep = !(turn & 1) && !__atomic_load_n(&here.given_up, __ATOMIC_ACQUIRE);
    if (may_keep && here.place == place && here.length > 0) {
        long length = here.length;
        memcpy(buffer, here.text, (size_t)length + 1);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&here.turn, __ATOMIC_RELAXED) == turn)
            return length;
    }
    long length = syscall(SYS_getcwd, buffer, LONGEST) - 1;
    if (may_keep && length > 0 &&
        __atomic_compare_exchange_n(&here.turn, &turn, turn + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        here.place = place;
        here.length = length;
        memcpy(here.text, buffer, (size_t)length + 1);
        __atomic_store_n(&here.turn, turn + 2, __ATOMIC_RELEASE);
    }
    return length;
}

static void gone_elsewhere(void) {
    if ((uint32_t)syscall(SYS_getpid) != here.begun_by)
        __atomic_store_n(&here.given_up, 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&moves, 1, __ATOMIC_ACQ_REL);
}

/* The absolute path, in `buffer` if it has to be put together; null where there is none. */
static const char *absolute(int directory, const char *path, char *buffer) {
    if (*path == '/')
        return strlen(path) < LONGEST ? path : 0;
    long length;
    if (directory == AT_FDCWD) {
        length = working_directory(buffer);
    } else {
        char link[48];
        put_number(put_text(link, "/proc/self/fd/"), (uint64_t)directory);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, LONGEST - 1);
    }
    if (length <= 0 || buffer[0] != '/' || (size_t)length + strlen(path) + 2 > LONGEST)
        return 0;
    if (buffer[length - 1] != '/')
        buffer[length++] = '/';
    put_text(buffer + length, path);
    return buffer;
}

static char kind_of(int flags) {
    if (flags & O_TRUNC || (flags & O_ACCMODE) == O_WRONLY || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return 'W';
    return (flags & O_ACCMODE) == O_RDONLY ? 'R' : 'U';
}

/* What was looked for, and is not there (or is): should that change, another run would see otherwise. */
static void sought(char kind, int directory, const char *path) {
    if (!active || !looks || !path || !*path)
        return;
    int before = errno;
    char buffer[LONGEST];
    const char *whole = path;
    if (*path == '/' ? is_wanted(path) : 1) {
        if (*path != '/' && directory != AT_FDCWD)
            whole = absolute(directory, path, buffer);
        if (whole && is_new(kind, whole, __atomic_load_n(&moves, __ATOMIC_RELAXED)) &&
            (whole = absolute(AT_FDCWD, whole, buffer)) && (whole == path || is_wanted(whole)))
            tell(kind, whole, 0, 0, 0);
    }
    errno = before;
}

static void missed(int directory, const char *path) {
    if (errno == ENOENT || errno == ENOTDIR)
        sought('N', directory, path);
}

/* A folder whose names somebody wants to know; rules are for what lies in it. Python asks for the names in a
   folder that it imports from, always by its whole path: a second slash says that it was another that asked. */
static void listed(int directory, const char *path) {
    if (!active || !looks || !path)
        return;
    int before = errno;
    char buffer[LONGEST];
    const char *whole = absolute(directory, path, buffer);
    if (whole && strlen(whole) + 3 < LONGEST) {
        if (whole != buffer)
            put_text(buffer, whole);
        put_text(buffer + strlen(buffer), *path == '/' ? "/" : "//");
        if (is_wanted(buffer) && is_new('D', buffer, 0))
            tell('D', buffer, 0, 0, 0);
    }
    errno = before;
}

static void opened(int directory, const char *path, int flags, int descriptor) {
    if (descriptor < 0)
        missed(directory, path);
    if (!active || descriptor < 0 || !path || flags & O_PATH)
        return;
    if (flags & O_DIRECTORY) {
        listed(directory, path);
        return;
    }
    int before = errno;
    char buffer[LONGEST];
    char kind = kind_of(flags);
    const char *whole = path;
    if (*path == '/' ? is_wanted(path) : 1) {
        if (*path != '/' && directory != AT_FDCWD)
            whole = absolute(directory, path, buffer);
        if (whole && is_new(kind, whole, __atomic_load_n(&moves, __ATOMIC_RELAXED))) {
            struct stat status;
            int known = syscall(SYS_fstat, descriptor, &status) == 0;
            if (known && S_ISDIR(status.st_mode))
                listed(AT_FDCWD, whole);
            if (known && S_ISREG(status.st_mode) && (whole = absolute(AT_FDCWD, whole, buffer)) &&
                (whole == path || is_wanted(whole)))
                tell(kind, whole, 0, &status, flags);
        }
    }
    errno = before;
}

static void moved(char kind, int from, const char *old, int to, const char *new) {
    if (!active || !old || !new)
        return;
    int before = errno;
    char buffers[2][LONGEST];
    __atomic_fetch_add(&renames, 1, __ATOMIC_ACQ_REL);
    old = absolute(from, old, buffers[0]);
    new = absolute(to, new, buffers[1]);
    if (old && new && is_wanted(new))
        tell(kind, old, new, 0, 0);
    errno = before;
}

/* --- the functions that are ours first ------------------------------------------------------------------ */

static void *next(void **known, const char *name) {
    void *found = __atomic_load_n(known, __ATOMIC_RELAXED);
    if (!found)
        __atomic_store_n(known, found = dlsym(RTLD_NEXT, name), __ATOMIC_RELAXED);
    return found;
}

#define NEXT(name) ((__typeof__(&name))next(&real_##name, #name))
#define OURS(name) static void *real_##name

OURS(open); OURS(open64); OURS(openat); OURS(openat64); OURS(creat); OURS(creat64);
OURS(fopen); OURS(fopen64); OURS(freopen); OURS(freopen64);
OURS(mkstemp); OURS(mkstemp64); OURS(mkostemp); OURS(mkostemp64); OURS(mkstemps); OURS(mkstemps64);
OURS(mkostemps); OURS(mkostemps64);
OURS(rename); OURS(renameat); OURS(renameat2); OURS(link); OURS(linkat); OURS(truncate); OURS(truncate64);
OURS(chdir); OURS(fchdir);
OURS(opendir); OURS(scandir); OURS(scandir64);
OURS(stat); OURS(stat64); OURS(lstat); OURS(lstat64); OURS(fstatat); OURS(fstatat64); OURS(statx);
OURS(__xstat); OURS(__xstat64); OURS(__lxstat); OURS(__lxstat64); OURS(__fxstatat); OURS(__fxstatat64);
OURS(access); OURS(faccessat); OURS(eaccess); OURS(euidaccess); OURS(readlink); OURS(readlinkat);
struct statx;
int statx(int, const char *, int, unsigned, struct statx *);
int __xstat(int, const char *, struct stat *); int __xstat64(int, const char *, struct stat64 *);
int __lxstat(int, const char *, struct stat *); int __lxstat64(int, const char *, struct stat64 *);
int __fxstatat(int, int, const char *, struct stat *, int);
int __fxstatat64(int, int, const char *, struct stat64 *, int);
OURS(execve); OURS(execvpe); OURS(fexecve); OURS(posix_spawn); OURS(posix_spawnp);
OURS(posix_spawn_file_actions_addopen);
OURS(__open_2); OURS(__open64_2); OURS(__openat_2); OURS(__openat64_2);
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
int mkstemp(char *); int mkstemp64(char *); int mkostemp(char *, int); int mkostemp64(char *, int);
int mkstemps(char *, int); int mkstemps64(char *, int); int mkostemps(char *, int, int); int mkostemps64(char *, int, int);

#define MODE_OF(flags)                                                        \
    int mode = 0;                                                             \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {            \
        va_list rest;                                                         \
        va_start(rest, flags);                                                \
        mode = va_arg(rest, int);                                             \
        va_end(rest);                                                         \
    }

#define OPEN(name)                                                            \
    EXPORT int name(const char *path, int flags, ...) {                       \
        MODE_OF(flags)                                                        \
        int descriptor = NEXT(name)(path, flags, mode);                       \
        opened(AT_FDCWD, path, flags, descriptor);                            \
        return descriptor;                                                    \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                          \
    EXPORT int name(int directory, const char *path, int flags, ...) {        \
        MODE_OF(flags)                                                        \
        int descriptor = NEXT(name)(directory, path, flags, mode);            \
        opened(directory, path, flags, descriptor);                           \
        return descriptor;                                                    \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN_2(name)                                                          \
    EXPORT int name(const char *path, int flags) {                            \
        int descriptor = NEXT(name)(path, flags);                             \
        opened(AT_FDCWD, path, flags, descriptor);                            \
        return descriptor;                                                    \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name)                                                        \
    EXPORT int name(int directory, const char *path, int flags) {             \
        int descriptor = NEXT(name)(directory, path, flags);                  \
        opened(directory, path, flags, descriptor);                           \
        return descriptor;                                                    \
    }
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

#define CREAT(name)                                                           \
    EXPORT int name(const char *path, mode_t mode) {                          \
        int descriptor = NEXT(name)(path, mode);                              \
        opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, descriptor);     \
        return descriptor;                                                    \
    }
CREAT(creat)
CREAT(creat64)

static int flags_of(const char *mode) {
    int update = strchr(mode, '+') != 0;
    if (*mode == 'r')
        return update ? O_RDWR : O_RDONLY;
    return (update ? O_RDWR : O_WRONLY) | O_CREAT | (*mode == 'w' ? O_TRUNC : O_APPEND);
}

#define FOPEN(name)                                                           \
    EXPORT FILE *name(const char *path, const char *mode) {                   \
        FILE *file = NEXT(name)(path, mode);                                  \
        if (active)                                                           \
            opened(AT_FDCWD, path, flags_of(mode), file ? fileno(file) : -1); \
        return file;                                                          \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define FREOPEN(name)                                                         \
    EXPORT FILE *name(const char *path, const char *mode, FILE *old) {        \
        FILE *file = NEXT(name)(path, mode, old);                             \
        if (file && active && path)                                           \
            opened(AT_FDCWD, path, flags_of(mode), fileno(file));             \
        return file;                                                          \
    }
FREOPEN(freopen)
FREOPEN(freopen64)

#define MADE(name, declared, given)                                           \
    EXPORT int name declared {                                                \
        int descriptor = NEXT(name) given;                                    \
        opened(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, descriptor);        \
        return descriptor;                                                    \
    }
MADE(mkstemp, (char *path), (path))
MADE(mkstemp64, (char *path), (path))
MADE(mkostemp, (char *path, int flags), (path, flags))
MADE(mkostemp64, (char *path, int flags), (path, flags))
MADE(mkstemps, (char *path, int suffix), (path, suffix))
MADE(mkstemps64, (char *path, int suffix), (path, suffix))
MADE(mkostemps, (char *path, int suffix, int flags), (path, suffix, flags))
MADE(mkostemps64, (char *path, int suffix, int flags), (path, suffix, flags))

#define MOVED(name, kind, declared, given, from, old, to, new)                \
    EXPORT int name declared {                                                \
        int result = NEXT(name) given;                                        \
        if (result == 0)                                                      \
            moved(kind, from, old, to, new);                                  \
        return result;                                                        \
    }
MOVED(rename, 'M', (const char *old, const char *new), (old, new), AT_FDCWD, old, AT_FDCWD, new)
MOVED(renameat, 'M', (int from, const char *old, int to, const char *new), (from, old, to, new), from, old, to, new)
MOVED(renameat2, 'M', (int from, const char *old, int to, const char *new, unsigned flags),
      (from, old, to, new, flags), from, old, to, new)
MOVED(link, 'L', (const char *old, const char *new), (old, new), AT_FDCWD, old, AT_FDCWD, new)
MOVED(linkat, 'L', (int from, const char *old, int to, const char *new, int flags),
      (from, old, to, new, flags), from, old, to, new)

static void cut(const char *path) {
    int before = errno;
    char buffer[LONGEST];
    const char *whole = active && path ? absolute(AT_FDCWD, path, buffer) : 0;
    if (whole && is_wanted(whole))
        tell('W', whole, 0, 0, O_WRONLY);
    errno = before;
}

EXPORT int truncate(const char *path, off_t length) {
    int result = NEXT(truncate)(path, length);
    if (result == 0)
        cut(path);
    return result;
}

EXPORT int truncate64(const char *path, off64_t length) {
    int result = NEXT(truncate64)(path, length);
    if (result == 0)
        cut(path);
    return result;
}

EXPORT int chdir(const char *path) {
    int result = NEXT(chdir)(path);
    gone_elsewhere();
    return result;
}

EXPORT int fchdir(int descriptor) {
    int result = NEXT(fchdir)(descriptor);
    gone_elsewhere();
    return result;
}

#define LOOKS(type, name, declared, given, from, path)                        \
    EXPORT type name declared {                                               \
        type result = NEXT(name) given;                                       \
        if (result < 0 && (errno == ENOENT || errno == ENOTDIR))              \
            sought('N', from, path);                                          \
        else                                                                  \
            sought('E', from, path);                                          \
        return result;                                                        \
    }
LOOKS(int, stat, (const char *path, struct stat *status), (path, status), AT_FDCWD, path)
LOOKS(int, stat64, (const char *path, struct stat64 *status), (path, status), AT_FDCWD, path)
LOOKS(int, lstat, (const char *path, struct stat *status), (path, status), AT_FDCWD, path)
LOOKS(int, lstat64, (const char *path, struct stat64 *status), (path, status), AT_FDCWD, path)
LOOKS(int, fstatat, (int from, const char *path, struct stat *status, int flags), (from, path, status, flags), from, path)
LOOKS(int, fstatat64, (int from, const char *path, struct stat64 *status, int flags), (from, path, status, flags), from,
      path)
LOOKS(int, statx, (int from, const char *path, int flags, unsigned mask, struct statx *status),
      (from, path, flags, mask, status), from, path)
LOOKS(int, __xstat, (int version, const char *path, struct stat *status), (version, path, status), AT_FDCWD, path)
LOOKS(int, __xstat64, (int version, const char *path, struct stat64 *status), (version, path, status), AT_FDCWD, path)
LOOKS(int, __lxstat, (int version, const char *path, struct stat *status), (version, path, status), AT_FDCWD, path)
LOOKS(int, __lxstat64, (int version, const char *path, struct stat64 *status), (version, path, status), AT_FDCWD, path)
LOOKS(int, __fxstatat, (int version, int from, const char *path, struct stat *status, int flags),
      (version, from, path, status, flags), from, path)
LOOKS(int, __fxstatat64, (int version, int from, const char *path, struct stat64 *status, int flags),
      (version, from, path, status, flags), from, path)
LOOKS(int, access, (const char *path, int mode), (path, mode), AT_FDCWD, path)
LOOKS(int, faccessat, (int from, const char *path, int mode, int flags), (from, path, mode, flags), from, path)
LOOKS(int, eaccess, (const char *path, int mode), (path, mode), AT_FDCWD, path)
LOOKS(int, euidaccess, (const char *path, int mode), (path, mode), AT_FDCWD, path)
LOOKS(ssize_t, readlink, (const char *path, char *target, size_t size), (path, target, size), AT_FDCWD, path)
LOOKS(ssize_t, readlinkat, (int from, const char *path, char *target, size_t size), (from, path, target, size), from,
      path)

EXPORT DIR *opendir(const char *path) {
    DIR *found = NEXT(opendir)(path);
    if (found)
        listed(AT_FDCWD, path);
    else
        missed(AT_FDCWD, path);
    return found;
}

#define SCANDIR(name, entry)                                                                              \
    EXPORT int name(const char *path, struct entry ***names, int (*wanted)(const struct entry *),         \
                    int (*order)(const struct entry **, const struct entry **)) {                         \
        int result = NEXT(name)(path, names, wanted, order);                                              \
        if (result >= 0)                                                                                  \
            listed(AT_FDCWD, path);                                                                       \
        else                                                                                              \
            missed(AT_FDCWD, path);                                                                       \
        return result;                                                                                    \
    }
SCANDIR(scandir, dirent)
SCANDIR(scandir64, dirent64)

/* --- programs that are started: with us, unless they cannot load us -------------------------------------- */

enum { LOADS_US, CANNOT, FOREIGN };

static int kind_of_program(const char *path) {
    union {
        Elf64_Ehdr header;
        char bytes[4096];
    } read;
    struct stat status;
    int kind = LOADS_US, descriptor = raw_open(path, O_RDONLY, 0);
    if (descriptor < 0)
        return LOADS_US;
    long size = syscall(SYS_read, descriptor, &read, sizeof read);
    if (syscall(SYS_fstat, descriptor, &status) == 0 && status.st_mode & (S_ISUID | S_ISGID))
        kind = CANNOT;
    raw_close(descriptor);
    if (size < (long)sizeof read.header || memcmp(read.bytes, ELFMAG, SELFMAG) != 0)
        return kind;
    if (read.bytes[EI_CLASS] != ELFCLASS64)
        return FOREIGN;
    uint64_t at = read.header.e_phoff, step = read.header.e_phentsize;
    for (int number = 0; number < read.header.e_phnum; number++, at += step) {
        if (step < sizeof(Elf64_Phdr) || at + step > (uint64_t)size)
            return kind;
        if (((Elf64_Phdr *)(read.bytes + at))->p_type == PT_INTERP)
            return kind;
    }
    return CANNOT;
}

typedef struct {
    char *variables[4096];
    char preload[LONGEST], observe[LONGEST + 16];
} place_t;

static const char *value_of(char *const *variables, const char *name) {
    size_t length = strlen(name);
    for (; variables && *variables; variables++)
        if (strncmp(*variables, name, length) == 0)
            return *variables + length;
    return 0;
}

/* The variables with our two, which others are left as they are; `LD_PRELOAD` without us for `FOREIGN`. */
static char *const *with_us(char *const *variables, int program, place_t *place) {
    const char *preload = value_of(variables, "LD_PRELOAD="), *observe = value_of(variables, "MLRUN_OBSERVE=");
    const char *ours = preload ? strstr(preload, own_path) : 0;
    if ((observe && strcmp(observe, folder) != 0) || (program != FOREIGN && observe && ours) ||
        (program == FOREIGN && !ours))
        return variables;
    size_t count = 0;
    for (char *const *each = variables; each && *each; each++) {
        if (count > 4090)
            return variables;
        if (strncmp(*each, "LD_PRELOAD=", 11) != 0 && strncmp(*each, "MLRUN_OBSERVE=", 14) != 0)
            place->variables[count++] = *each;
    }
    if ((preload ? strlen(preload) : 0) + strlen(own_path) + 16 > LONGEST)
        return variables;
    char *start = put_text(place->preload, "LD_PRELOAD="), *at = start;
    for (const char *each = preload; each && *each; each += strspn(each, ": ")) {
        size_t length = strcspn(each, ": ");
        if (length && (length != strlen(own_path) || memcmp(each, own_path, length) != 0)) {
            if (at != start)
                *at++ = ':';
            memcpy(at, each, length);
            *(at += length) = 0;
        }
        each += length;
    }
    if (program != FOREIGN)
        put_text(at == start ? at : put_text(at, ":"), own_path);
    put_text(put_text(place->observe, "MLRUN_OBSERVE="), folder);
    if (*start)
        place->variables[count++] = place->preload;
    place->variables[count++] = place->observe;
    place->variables[count] = 0;
    return place->variables;
}

/* What the kernel or the loader reads for the program: itself, and libraries of the project's own. */
static void executed(const char *path) {
    char buffer[LONGEST];
    const char *whole = absolute(AT_FDCWD, path, buffer);
    if (looks && whole && is_wanted(whole) && is_new('X', whole, 0))
        tell('X', whole, 0, 0, 0);
}

static int loaded(struct dl_phdr_info *info, size_t size, void *nothing) {
    (void)size, (void)nothing;
    const char *name = info->dlpi_name;
    if (name && strchr(name, '/') && strcmp(name, own_path) != 0 && (*name != '/' || is_wanted(name)))
        executed(name);
    return 0;
}

__attribute__((destructor)) static void end(void) {
    int before = errno;
    if (active && looks)
        dl_iterate_phdr(loaded, 0);
    errno = before;
}

static int looked_at(const char *path, int searched) {
    if (!active || !own_path || !path || (searched && !strchr(path, '/')))
        return LOADS_US;
    int before = errno, program = kind_of_program(path);
    char buffer[LONGEST];
    const char *whole;
    if (program != LOADS_US && (whole = absolute(AT_FDCWD, path, buffer)) && is_new('S', whole, 0))
        tell('S', whole, 0, 0, 0);
    if (syscall(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
        executed(path);
    errno = before;
    return program;
}

#define WITH_US(variables, program) (active && own_path ? with_us(variables, program, &place) : (variables))

EXPORT int execve(const char *path, char *const argv[], char *const variables[]) {
    place_t place;
    int program = looked_at(path, 0);
    return NEXT(execve)(path, argv, WITH_US(variables, program));
}

EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }

EXPORT int execvpe(const char *file, char *const argv[], char *const variables[]) {
    place_t place;
    int program = looked_at(file, 1);
    return NEXT(execvpe)(file, argv, WITH_US(variables, program));
}

EXPORT int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environ); }

EXPORT int fexecve(int descriptor, char *const argv[], char *const variables[]) {
    place_t place;
    return NEXT(fexecve)(descriptor, argv, WITH_US(variables, LOADS_US));
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const variables[]) {
    place_t place;
    int program = looked_at(path, 0);
    return NEXT(posix_spawn)(pid, path, actions, attributes, argv, WITH_US(variables, program));
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[], char *const variables[]) {
    place_t place;
    int program = looked_at(file, 1);
    return NEXT(posix_spawnp)(pid, file, actions, attributes, argv, WITH_US(variables, program));
}

/* The child opens it inside of libc; that it will is as near as one gets. */
EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int descriptor, const char *path,
                                            int flags, mode_t mode) {
    int result = NEXT(posix_spawn_file_actions_addopen)(actions, descriptor, path, flags, mode);
    int before = errno;
    char buffer[LONGEST];
    const char *whole;
    if (result == 0 && active && (whole = absolute(AT_FDCWD, path, buffer)) && is_wanted(whole))
        tell(kind_of(flags), whole, 0, 0, flags);
    errno = before;
    return result;
}

/* --- the beginning --------------------------------------------------------------------------------------- */

static const char *read_rules(const char *path, size_t *size) {
    struct stat status;
    void *mapped = MAP_FAILED;
    int descriptor = raw_open(path, O_RDONLY, 0);
    if (descriptor < 0)
        return 0;
    if (syscall(SYS_fstat, descriptor, &status) == 0 && status.st_size > 0)
        mapped = (void *)syscall(SYS_mmap, 0, status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0L);
    raw_close(descriptor);
    if (mapped == MAP_FAILED)
        return 0;
    *size = (size_t)status.st_size;
    return ((const char *)mapped)[*size - 1] == 0 ? mapped : 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *named = value_of(environ, "MLRUN_OBSERVE=");
    char path[LONGEST + 16];
    size_t size;
    int before = errno;
    if (!named || *named != '/' || strlen(named) >= LONGEST)
        return;
    put_text(put_text(path, named), "/rules");
    const char *read = read_rules(path, &size);
    if (read && (*read == '!' || *read == '?')) {
        looks = *read == '?';
        put_text(folder, named);
        own_path = read + 1;
        rules = read + strlen(read) + 1;
        rules_end = read + size;
        here.begun_by = (uint32_t)syscall(SYS_getpid);
        active = 1;
    }
    errno = before;
}
