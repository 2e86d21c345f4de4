/* The workload of the laboratory's pods.
 *
 *   labpod serve [PORT]            answers every connection with one line: the peer's address and its own
 *   labpod fetch MILLISECONDS HOST:PORT...   connects to all at once; prints one line a host and how many failed
 *
 * Addresses are IPv4 numbers; the static C library resolves no names. fetch exits 1 if any failed. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_HOSTS = 1024, REPLY = 512 };

static void address_text(int socket_fd, int peers, char *text, size_t size) {
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    if (peers)
        getpeername(socket_fd, (struct sockaddr *)&address, &length);
    else
        getsockname(socket_fd, (struct sockaddr *)&address, &length);
    if (!inet_ntop(AF_INET, &address.sin_addr, text, (socklen_t)size)) snprintf(text, size, "?");
}

static void answer(int client) {
    char request[2048], peer[INET_ADDRSTRLEN], own[INET_ADDRSTRLEN], reply[REPLY];
    struct timeval patience = {.tv_sec = 2};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (read(client, request, sizeof request) > 0) { /* whatever is asked, the answer is the same */
        address_text(client, 1, peer, sizeof peer);
        address_text(client, 0, own, sizeof own);
        char body[128];
        int length = snprintf(body, sizeof body, "peer %s own %s\n", peer, own);
        int size = snprintf(reply, sizeof reply, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, body);
        if (write(client, reply, (size_t)size) < 0) perror("write");
        shutdown(client, SHUT_WR);
    }
    close(client);
}

static int serve(int port) {
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 256)) {
        perror("listen");
        return 1;
    }
    for (;;) {
        int client = accept(listener, 0, 0);
        if (client >= 0) answer(client);
    }
}

struct call {
    int fd;
    int asked;
    const char *host;
    char reply[REPLY];
    size_t got;
    const char *failure;
};

static void finish(struct call *call, const char *failure) {
    call->failure = failure;
    close(call->fd);
    call->fd = -1;
}

static void begin(struct call *call, const char *host) {
    char ip[64];
    const char *colon = strrchr(host, ':');
    struct sockaddr_in address = {.sin_family = AF_INET};
    call->host = host;
    call->fd = -1;
    snprintf(ip, sizeof ip, "%.*s", colon ? (int)(colon - host) : 0, host);
    if (!colon || inet_pton(AF_INET, ip, &address.sin_addr) != 1) {
        call->failure = "is not ADDRESS:PORT";
        return;
    }
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    call->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(call->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        finish(call, strerror(errno));
}

/* One step of a call whose socket is ready: ask once it is connected, then read until the server closes. */
static void step(struct call *call) {
    if (!call->asked) {
        int problem = 0;
        socklen_t length = sizeof problem;
        getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
        if (problem) {
            finish(call, strerror(problem));
            return;
        }
        const char request[] = "GET / HTTP/1.0\r\n\r\n";
        if (write(call->fd, request, sizeof request - 1) < 0) finish(call, strerror(errno));
        call->asked = 1;
        return;
    }
    ssize_t count = read(call->fd, call->reply + call->got, REPLY - 1 - call->got);
    if (count > 0 && call->got + (size_t)count < REPLY - 1)
        call->got += (size_t)count;
    else if (count < 0)
        finish(call, strerror(errno));
    else
        finish(call, call->got ? 0 : "closed without a reply");
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static int fetch(int milliseconds, int count, char **hosts) {
    static struct call calls[MOST_HOSTS];
    static struct pollfd polls[MOST_HOSTS];
    int open, failed = 0;
    if (count > MOST_HOSTS) {
        fprintf(stderr, "at most %d hosts\n", MOST_HOSTS);
        return 2;
    }
    for (int i = 0; i < count; i++) begin(&calls[i], hosts[i]);
    long end = now() + milliseconds;
    do {
        open = 0;
        for (int i = 0; i < count; i++) {
            polls[i] = (struct pollfd){.fd = calls[i].fd, .events = calls[i].asked ? POLLIN : POLLOUT};
            open += calls[i].fd >= 0;
        }
        long left = end - now();
        if (!open || left <= 0) break;
        poll(polls, (nfds_t)count, (int)left);
        for (int i = 0; i < count; i++)
            if (calls[i].fd >= 0 && polls[i].revents) step(&calls[i]);
    } while (open);
    for (int i = 0; i < count; i++) {
        if (calls[i].fd >= 0) finish(&calls[i], "no answer in time");
        const char *body = strstr(calls[i].reply, "\r\n\r\n");
        const char *text = calls[i].failure ? calls[i].failure : body ? body + 4 : "is not HTTP";
        failed += calls[i].failure != 0;
        printf("%s %.*s\n", calls[i].host, (int)strcspn(text, "\r\n"), text);
    }
    printf("%d of %d failed\n", failed, count);
    return failed > 0;
}

static void quit(int number) {
    (void)number;
    _exit(0);
}

int main(int argc, char **argv) {
    signal(SIGTERM, quit); /* a pod's first process ends at none by default */
    signal(SIGPIPE, SIG_IGN);
    if (argc >= 2 && !strcmp(argv[1], "serve")) return serve(argc > 2 ? atoi(argv[2]) : 8080);
    if (argc >= 3 && !strcmp(argv[1], "fetch")) return fetch(atoi(argv[2]), argc - 3, argv + 3);
    fprintf(stderr, "usage: labpod serve [PORT] | labpod fetch MILLISECONDS ADDRESS:PORT...\n");
    return 2;
}
