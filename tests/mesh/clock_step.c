/* A wall clock that a test can set while the programs that read it run.

   Preloaded into a process it adds the nanoseconds in the file OFFSET to everything that the process
   reads from CLOCK_REALTIME.  The file is mapped, so writing to it steps the clock of all of them
   at the same instant.  The monotonic clocks stay true, as when a clock is set.

   Not covered, because the kernel knows nothing of the step: absolute timeouts on CLOCK_REALTIME,
   the times of files, and programs that make system calls themselves (Go).  */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL

static const volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void) {
  int fd = open(OFFSET, O_RDONLY | O_CLOEXEC);
  void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) {
    fprintf(stderr, "clock_step: %s: %s\n", OFFSET, strerror(errno));
    abort(); /* on the true clock the test would prove nothing */
  }
  close(fd);
  offset = page;
}

int clock_gettime(clockid_t id, struct timespec *now) {
  if (syscall(SYS_clock_gettime, id, now) != 0)
    return -1;
  if (offset != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
    int64_t total = now->tv_sec * BILLION + now->tv_nsec + *offset;
    now->tv_sec = total / BILLION;
    now->tv_nsec = total % BILLION;
  }
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *copy) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (copy != NULL)
    *copy = exact.tv_sec;
  return exact.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}
