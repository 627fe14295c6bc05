/* A trap for the engine's thread: whoever preloads it dies of what that thread must not do.
 *
 * How it works: the thread names itself, by a function that is ours here. From then on, with TRAP=memory in
 * the environment, allocating, freeing and locking a mutex end the process with a message and SIGABRT; with
 * TRAP=calls, every system call but those below ends it with SIGSYS. Whatever else has to wait is one of
 * these: futex is not in the list. What the C library does at the thread's end is.
 *
 * How to use it: cc -shared -fPIC -o trap.so trap.c; LD_PRELOAD=trap.so. Exit status 77: no seccomp in this
 * kernel. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

/* Initial-exec: reached without a function that might allocate. */
static __thread bool armed __attribute__((tls_model("initial-exec")));

static void pass(const char *what) {
    if (!armed)
        return;
    armed = false;
    (void)!write(STDERR_FILENO, what, strlen(what));
    abort();
}

void *malloc(size_t size) {
    pass("malloc in the tick\n");
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    pass("calloc in the tick\n");
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    pass("realloc in the tick\n");
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    pass("aligned_alloc in the tick\n");
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    pass("posix_memalign in the tick\n");
    *block = __libc_memalign(alignment, size);
    return 0;
}

void free(void *block) {
    if (!block)
        return; /* what the C library does at a thread's end */
    pass("free in the tick\n");
    __libc_free(block);
}

/* Also one that nobody holds: somebody would, some day. */
int pthread_mutex_lock(pthread_mutex_t *lock) {
    static int (*real)(pthread_mutex_t *); /* every thread finds the same */
    pass("a lock in the tick\n");
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    return real(lock);
}

#define ALLOW(number)                                                                                        \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void forbid_calls(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* The ports' own, and the wake-up of the control thread. */
        ALLOW(SYS_read),
        ALLOW(SYS_write),
#ifdef SYS_poll
        ALLOW(SYS_poll),
#endif
        ALLOW(SYS_ppoll),
        /* The clock's; the first of them where the kernel does not give the time without a call. */
        ALLOW(SYS_clock_gettime),
        ALLOW(SYS_clock_nanosleep),
        ALLOW(SYS_sched_setscheduler),
        /* The thread's end. */
        ALLOW(SYS_rt_sigprocmask),
        ALLOW(SYS_madvise),
        ALLOW(SYS_exit),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
}

/* The engine calls it for the calling thread only. */
int pthread_setname_np(pthread_t thread, const char *name) {
    (void)thread;
    const char *trap = getenv("TRAP");
    prctl(PR_SET_NAME, name);
    if (trap && strcmp(name, "branchline-rt") == 0) {
        armed = strcmp(trap, "memory") == 0;
        if (strcmp(trap, "calls") == 0)
            forbid_calls();
    }
    return 0;
}
