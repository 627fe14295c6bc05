/* What a disk has when the power goes: for each file, its bytes at the last sync; for each directory, its
 * names then.
 *
 * How it works: whoever preloads it has syncs of ours. What lies below $POWER_DISK is not synced at all, but
 * written down below $POWER_KEPT, by inode:
 *
 *     copy-<inode>    the file's bytes, as of its last sync
 *     names-<inode>   the directory's "<inode> <name>", each ended by a zero, as of its last sync
 *     file-<inode>    the file itself, by another name: no inode is given away again that is spoken of here
 *     life-<number>   which $POWER_LIFE it is now: who is of another has no power
 *
 * It is there wholly or not at all before the sync returns, $POWER_SYNC_MS later, as long as a card may take.
 * What is there from the beginning, and what becomes of it all when the power goes: tests/power.py.
 *
 * How to use it: cc -shared -fPIC -o power.so power.c; LD_PRELOAD=power.so. */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A sync that comes later has more to tell: none overtakes another. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
    perror(what);
    abort();
}

static const char *kept(char *path, const char *kind, ino_t inode) {
    snprintf(path, PATH_MAX, "%s/%s-%ju", getenv("POWER_KEPT"), kind, (uintmax_t)inode);
    return path;
}

static void give_name(const char *draft, const char *kind, ino_t inode) {
    char path[PATH_MAX];
    if (rename(draft, kept(path, kind, inode)))
        fail(path);
}

static int open_draft(char *path) {
    int draft = open(kept(path, "draft", (ino_t)gettid()), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (draft < 0)
        fail(path);
    return draft;
}

/* That it is there already, or gone again by now, is well. */
static void hold(const char *file, ino_t inode) {
    char path[PATH_MAX];
    if (linkat(AT_FDCWD, file, AT_FDCWD, kept(path, "file", inode), AT_SYMLINK_FOLLOW) && errno != EEXIST &&
        errno != ENOENT)
        fail(path);
}

static void keep_file(int descriptor, const char *file, const struct stat *facts) {
    char draft_path[PATH_MAX];
    /* By its own descriptor, if that can be read: closing another would let go of its locks (fcntl(2)). */
    bool is_readable = (fcntl(descriptor, F_GETFL) & O_ACCMODE) != O_WRONLY;
    int draft = open_draft(draft_path), source = is_readable ? descriptor : open(file, O_RDONLY | O_CLOEXEC);
    off_t place = 0;
    for (ssize_t done = 1; done > 0;) {
        done = sendfile(draft, source, &place, 1 << 20);
        if (done < 0)
            fail(draft_path);
    }
    if (!is_readable)
        close(source);
    close(draft);
    hold(file, facts->st_ino);
    give_name(draft_path, "copy", facts->st_ino);
}

static void keep_names(const char *place, const struct stat *facts) {
    char draft_path[PATH_MAX], entry_path[PATH_MAX];
    int draft = open_draft(draft_path);
    DIR *directory = opendir(place);
    if (!directory)
        fail(place);
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_type != DT_REG && (entry->d_type != DT_DIR || entry->d_name[0] == '.'))
            continue;
        snprintf(entry_path, sizeof entry_path, "%s/%s", place, entry->d_name);
        if (entry->d_type == DT_REG)
            hold(entry_path, entry->d_ino);
        dprintf(draft, "%ju %s%c", (uintmax_t)entry->d_ino, entry->d_name, 0);
    }
    closedir(directory);
    close(draft);
    give_name(draft_path, "names", facts->st_ino);
}

static void keep_open(int descriptor) {
    struct stat facts;
    char name[64];
    /* Whatever its own name is by now. */
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    pthread_mutex_lock(&turn);
    if (fstat(descriptor, &facts))
        fail(name);
    if (S_ISDIR(facts.st_mode))
        keep_names(name, &facts);
    else if (facts.st_nlink)
        keep_file(descriptor, name, &facts);
    pthread_mutex_unlock(&turn);
}

/* Whoever comes to life when the power has gone already never did. */
__attribute__((constructor)) static void live(void) {
    char path[PATH_MAX];
    const char *kept_at = getenv("POWER_KEPT"), *life = getenv("POWER_LIFE");
    if (!kept_at || !life)
        return;
    snprintf(path, sizeof path, "%s/life-%s", kept_at, life);
    if (access(path, F_OK))
        raise(SIGKILL);
}

static bool is_ours(int descriptor) {
    const char *disk = getenv("POWER_DISK");
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (!disk || length < 0)
        return false;
    path[length] = 0;
    size_t prefix = strlen(disk);
    return strncmp(path, disk, prefix) == 0 && (path[prefix] == '/' || path[prefix] == 0);
}

static int sync_by(long call, int descriptor) {
    if (!is_ours(descriptor))
        return (int)syscall(call, descriptor);
    const char *text = getenv("POWER_SYNC_MS");
    long ms = text ? atol(text) : 0;
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    keep_open(descriptor);
    return 0;
}

int fsync(int descriptor) {
    return sync_by(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    return sync_by(SYS_fdatasync, descriptor);
}
