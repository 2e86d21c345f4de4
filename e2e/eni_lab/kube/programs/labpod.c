/* The workload of the laboratory's pods.
 *
 *   labpod serve [PORT]       answers every connection, and every datagram, with one line: the peer's address and its own
 *   labpod fetch MILLISECONDS TARGET...      asks all at once; prints one line a target and how many failed
 *
 * A target is ADDRESS:PORT, [ADDRESS]:PORT of IPv6, or either with udp: in front, and before all that the pod's own
 * address and -> where it has several and is to ask by one: 10.0.1.5->udp:10.0.2.7:8080. Addresses are numbers; the
 * static C library resolves no names. fetch exits 1 if any failed. */
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

/* An IPv4 peer of a socket for both families is written as what it is, not as ::ffff:10.0.1.5. */
static void write_address(const struct sockaddr_storage *address, char *text, socklen_t size) {
    const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
    const void *four = &((const struct sockaddr_in *)address)->sin_addr;
    int family = address->ss_family;
    if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(six)) four = &six->s6_addr[12], family = AF_INET;
    if (!inet_ntop(family, family == AF_INET ? four : six, text, size)) snprintf(text, size, "?");
}

static void address_text(int socket_fd, int peers, char *text, socklen_t size) {
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    if (peers)
        getpeername(socket_fd, (struct sockaddr *)&address, &length);
    else
        getsockname(socket_fd, (struct sockaddr *)&address, &length);
    write_address(&address, text, size);
}

static void answer(int client) {
    char request[2048], peer[INET6_ADDRSTRLEN], own[INET6_ADDRSTRLEN], reply[REPLY];
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

static void answer_datagram(int receiver) {
    char request[2048], peer[INET6_ADDRSTRLEN], reply[128];
    struct sockaddr_storage from = {0};
    socklen_t length = sizeof from;
    if (recvfrom(receiver, request, sizeof request, 0, (struct sockaddr *)&from, &length) < 0) return;
    write_address(&from, peer, sizeof peer);
    int size = snprintf(reply, sizeof reply, "peer %s own datagram\n", peer);
    if (sendto(receiver, reply, (size_t)size, 0, (struct sockaddr *)&from, length) < 0) perror("sendto");
}

/* A socket of both families; of IPv4 alone where the kernel has no other. */
static int bound(int type, int port) {
    int yes = 1, no = 0;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int made = socket(AF_INET6, type | SOCK_CLOEXEC, 0), both = made >= 0;
    if (!both) made = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (both) setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    if (both ? bind(made, (struct sockaddr *)&six, sizeof six) : bind(made, (struct sockaddr *)&four, sizeof four)) {
        perror("bind");
        exit(1);
    }
    return made;
}

static int serve(int port) {
    struct pollfd sockets[] = {{.fd = bound(SOCK_STREAM, port), .events = POLLIN},
                               {.fd = bound(SOCK_DGRAM, port), .events = POLLIN}};
    if (listen(sockets[0].fd, 256)) {
        perror("listen");
        return 1;
    }
    for (;;) {
        if (poll(sockets, 2, -1) < 0) continue;
        int client = sockets[0].revents ? accept(sockets[0].fd, 0, 0) : -1;
        if (client >= 0) answer(client);
        if (sockets[1].revents) answer_datagram(sockets[1].fd);
    }
}

struct call {
    int fd;
    int asked;
    int datagram;
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

/* Reads ADDRESS:PORT or [ADDRESS]:PORT; returns the length of the socket address, 0 if it is neither. */
static socklen_t parse(const char *target, struct sockaddr_storage *address) {
    char ip[64];
    const char *colon = strrchr(target, ':');
    int bracketed = target[0] == '[' && colon > target && colon[-1] == ']';
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    if (!colon) return 0;
    snprintf(ip, sizeof ip, "%.*s", (int)(colon - target) - 2 * bracketed, target + bracketed);
    address->ss_family = bracketed ? AF_INET6 : AF_INET;
    if (inet_pton(address->ss_family, ip, bracketed ? (void *)&six->sin6_addr : (void *)&four->sin_addr) != 1) return 0;
    (bracketed ? &six->sin6_port : &four->sin_port)[0] = htons((uint16_t)atoi(colon + 1));
    return bracketed ? sizeof *six : sizeof *four;
}

/* Binds to the address before the arrow, at any port. */
static int bind_to(int fd, int family, const char *source, size_t length) {
    char ip[INET6_ADDRSTRLEN];
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    snprintf(ip, sizeof ip, "%.*s", (int)length, source);
    if (family == AF_INET6)
        return inet_pton(family, ip, &six.sin6_addr) != 1 || bind(fd, (struct sockaddr *)&six, sizeof six);
    return inet_pton(family, ip, &four.sin_addr) != 1 || bind(fd, (struct sockaddr *)&four, sizeof four);
}

static void begin(struct call *call, const char *host) {
    struct sockaddr_storage address = {0};
    const char *arrow = strstr(host, "->"), *target = arrow ? arrow + 2 : host;
    call->datagram = !strncmp(target, "udp:", 4);
    socklen_t length = parse(target + (call->datagram ? 4 : 0), &address);
    call->host = host;
    call->fd = -1;
    if (!length) {
        call->failure = "is not ADDRESS:PORT";
        return;
    }
    int type = call->datagram ? SOCK_DGRAM : SOCK_STREAM;
    call->fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (arrow && bind_to(call->fd, address.ss_family, host, (size_t)(arrow - host)))
        finish(call, "cannot be asked by that address");
    else if (connect(call->fd, (struct sockaddr *)&address, length) && errno != EINPROGRESS) finish(call, strerror(errno));
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
    if (count > 0 && call->got + (size_t)count < REPLY - 1 && !call->datagram)
        call->got += (size_t)count;
    else if (count < 0)
        finish(call, strerror(errno));
    else if (call->datagram && (call->got = (size_t)count))
        finish(call, 0);
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
        const char *said = calls[i].datagram ? calls[i].reply : body ? body + 4 : "is not HTTP";
        const char *text = calls[i].failure ? calls[i].failure : said;
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
    fprintf(stderr, "usage: labpod serve [PORT] | labpod fetch MILLISECONDS TARGET...\n");
    return 2;
}
