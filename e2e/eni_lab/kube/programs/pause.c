/* Holds namespaces and reaps what falls to it. It is the pod sandbox image, the laboratory's first process and each
 * node's first process: containerd's shims are handed over to that one when their parents end.
 * Static, no allocation, no memory of its own to speak of. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void quit(int number) {
    (void)number;
    _exit(0);
}

static void reap(int number) {
    (void)number;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void) {
    struct sigaction action = {.sa_handler = quit};
    sigaction(SIGTERM, &action, 0);
    sigaction(SIGINT, &action, 0);
    action.sa_handler = reap;
    action.sa_flags = SA_NOCLDSTOP | SA_RESTART;
    sigaction(SIGCHLD, &action, 0);
    for (;;) pause();
}
