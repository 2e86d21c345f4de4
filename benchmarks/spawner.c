/*
 * Calls a CNI executable as a runtime does, many times, and tells how long each call took from exec to the last byte.
 *
 * usage: spawner COMMAND CONCURRENCY CONFIG EXECUTABLE [ARGUMENT...]
 * Standard input has a line "container-id netns-path" for each call. Standard output gets a line of microseconds for
 * each. The environment is passed on. In C, because starting processes from Python costs more than what is measured.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CALLS = 4096, MOST_VARIABLES = 64 };

extern char **environ;
static struct call {
    char id[64], netns[128];
    double microseconds;
} calls[MOST_CALLS];
static int count;
static atomic_int next;
static char *command, **executable;
static const char *config_path;

static void die(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void perform(struct call *call) {
    char verb[64], id[128], netns[192], answer[1 << 14], *variables[MOST_VARIABLES];
    int output[2], status, filled = 0, set = 0;
    snprintf(verb, sizeof verb, "CNI_COMMAND=%s", command);
    snprintf(id, sizeof id, "CNI_CONTAINERID=%s", call->id);
    snprintf(netns, sizeof netns, "CNI_NETNS=%s", call->netns);
    variables[set++] = verb, variables[set++] = id, variables[set++] = netns, variables[set++] = "CNI_IFNAME=eth0";
    for (char **each = environ; *each && set < MOST_VARIABLES - 1; each++) variables[set++] = *each;
    variables[set] = NULL;

    double start = now();
    if (pipe2(output, O_CLOEXEC)) die(call->id, "no pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, config_path, O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    pid_t child;
    if (posix_spawn(&child, executable[0], &actions, NULL, executable, variables)) die(executable[0], "cannot be started");
    posix_spawn_file_actions_destroy(&actions);
    close(output[1]);
    for (ssize_t got; (got = read(output[0], answer + filled, sizeof answer - 1 - (size_t)filled)) > 0;) filled += (int)got;
    close(output[0]);
    waitpid(child, &status, 0);
    call->microseconds = now() - start;
    answer[filled] = 0;
    if (status) die(call->id, answer);
}

static void *work(void *unused) {
    for (int i; (i = atomic_fetch_add(&next, 1)) < count;) perform(&calls[i]);
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 5) die(argv[0], "COMMAND CONCURRENCY CONFIG EXECUTABLE");
    command = argv[1], config_path = argv[3], executable = argv + 4;
    int concurrency = atoi(argv[2]);
    while (count < MOST_CALLS && scanf("%63s %127s", calls[count].id, calls[count].netns) == 2) count++;
    pthread_t threads[concurrency];
    for (int i = 0; i < concurrency; i++)
        if (pthread_create(&threads[i], NULL, work, NULL)) die(argv[0], "no thread");
    for (int i = 0; i < concurrency; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++) printf("%.1f\n", calls[i].microseconds);
    return 0;
}
