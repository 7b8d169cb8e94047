/* Preloaded into a child process: notes its writes, syncs and connections, and can kill it at one of them.
 *
 * SHIM_FILES is the beginning of the paths that count, SHIM_LOG the file for notes: "OP TID PATH\n", with W before a
 * write, S after a sync, T before a truncation, C before a connection that is not local. shim_arm(n) kills the process
 * at the n-th write, sync or truncation from then on; a write is torn: half of it is done. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int log_file = -1;
static const char *prefix;
static volatile long armed = -1;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("SHIM_LOG");
    prefix = getenv("SHIM_FILES");
    if (log) log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

void shim_arm(long events) { armed = events; }

static void note(char op, const char *what) {
    char line[4400];
    if (log_file < 0) return;
    int n = snprintf(line, sizeof line, "%c %ld %s\n", op, (long)syscall(SYS_gettid), what);
    syscall(SYS_write, log_file, line, (size_t)n);
}

static int watched(int fd, char *path, size_t size) {
    char link[64];
    if (!prefix) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

static int due(void) { return armed > 0 && --armed == 0; }
static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

#define BEFORE_WRITE(fd, call_half) \
    char path[4200]; \
    int saved = errno; \
    if (watched(fd, path, sizeof path)) { \
        note('W', path); \
        if (due()) { (void)!(call_half); die(); } \
    } \
    errno = saved

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    BEFORE_WRITE(fd, real(fd, data, size / 2));
    return real(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    BEFORE_WRITE(fd, real(fd, data, size / 2, at));
    return real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    BEFORE_WRITE(fd, real(fd, data, size / 2, at));
    return real(fd, data, size, at);
}

#define SYNC(name) \
    int name(int fd) { \
        REAL(int, #name, int); \
        char path[4200]; \
        int counts = watched(fd, path, sizeof path); \
        if (counts && due()) die(); \
        int result = real(fd); \
        int saved = errno; \
        if (counts && result == 0) note('S', path); \
        errno = saved; \
        return result; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name, type) \
    int name(int fd, type size) { \
        REAL(int, #name, int, type); \
        char path[4200]; \
        if (watched(fd, path, sizeof path)) { \
            note('T', path); \
            if (due()) die(); \
        } \
        return real(fd, size); \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

static int local(const struct sockaddr *address) {
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return 1;
}

static int refused(const struct sockaddr *address) {
    if (!address || local(address) || log_file < 0) return 0;
    note('C', "address");
    errno = ENETUNREACH;
    return 1;
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
    REAL(int, "connect", int, const struct sockaddr *, socklen_t);
    return refused(address) ? -1 : real(fd, address, size);
}

ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *address, socklen_t size) {
    REAL(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    return refused(address) ? -1 : real(fd, data, n, flags, address, size);
}

struct addrinfo;
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    REAL(int, "getaddrinfo", const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (host && log_file >= 0 && strcmp(host, "localhost") && strncmp(host, "127.", 4) && strcmp(host, "::1")) {
        note('C', host);
        return -2; /* EAI_NONAME */
    }
    return real(host, service, hints, found);
}
