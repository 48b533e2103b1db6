/* A disk that fails when it is told to: loaded before the C library (LD_PRELOAD), for files named *.sqlite* alone.
 *
 * As long as the file $FAULTY_DISK is there, the operations that it names fail with the error that it names:
 * "28 write" is a disk that is full, "5 write sync" one that is broken, "30 write" one that was turned read-only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd, const char *operation)
{
    char path[4096], link[64], order[128];
    int before = errno;
    const char *control = getenv("FAULTY_DISK");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    int order_fd = control && strstr(path, ".sqlite") ? (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY) : -1;
    if (order_fd < 0) {
        errno = before;
        return 0;
    }
    length = syscall(SYS_read, order_fd, order, sizeof order - 1);
    syscall(SYS_close, order_fd);
    order[length < 0 ? 0 : length] = '\0';
    errno = strstr(order, operation) ? atoi(order) : before;
    return strstr(order, operation) != NULL;
}

#define FAULTY(type, name, operation, parameters, arguments)                                                           \
    type name parameters                                                                                               \
    {                                                                                                                  \
        static type(*real) parameters;                                                                                 \
        if (!real)                                                                                                     \
            real = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                                        \
        return fails(fd, operation) ? -1 : real arguments;                                                             \
    }

FAULTY(ssize_t, write, "write", (int fd, const void *bytes, size_t count), (fd, bytes, count))
FAULTY(ssize_t, pwrite, "write", (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
FAULTY(ssize_t, pwrite64, "write", (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
FAULTY(int, ftruncate, "write", (int fd, off_t length), (fd, length))
FAULTY(int, ftruncate64, "write", (int fd, off64_t length), (fd, length))
FAULTY(int, fsync, "sync", (int fd), (fd))
FAULTY(int, fdatasync, "sync", (int fd), (fd))
FAULTY(ssize_t, pread, "read", (int fd, void *bytes, size_t count, off_t at), (fd, bytes, count, at))
FAULTY(ssize_t, pread64, "read", (int fd, void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
