/*
 * eni-cni: the executable a container runtime starts for each CNI verb.
 *
 * It passes the runtime's six variables, standard input and an open descriptor of the pod's network namespace to the
 * agent's socket, prints the answer and exits with its code. It decides nothing but what must hold without an agent:
 * VERSION is answered here, DEL and GC succeed when nobody listens (the agent's sweep finds what they left), ADD and
 * STATUS wait for an agent that restarts, every verb but VERSION gets a CNI error in bounded time. Counterparts:
 * eni_cni_shim/protocol.py (the bytes) and eni_cni_shim/forwarder.py (the same contract for hosts where a static binary
 * is not wanted).
 *
 * Build: musl-gcc -Os -static -Wall -Wextra -Werror -o eni-cni forwarder.c
 * Any C library will do; with glibc's the same process takes twice as long, most of it to ask the processor what it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define AGENT_SOCKET "/run/eni-agent/agent.sock"
#define TIMEOUT_SECONDS 60 /* the agent holds an ADD for 20 seconds by default while the pool grows */
#define RESTART_MS 2000  /* an agent that restarts listens again within a second */
#define UPGRADE_MS 10000 /* one that is replaced, within a few; a STATUS that fails makes the node NotReady */
#define RETRY_MS 50
#define LARGEST_BODY (1u << 20)
#define MAGIC "ENI1"
#define REQUEST_HEADER 8 /* magic, uint32 little endian length */
#define REPLY_HEADER 9   /* magic, uint32 little endian length, uint8 exit code */

/* Error codes of the CNI specification 1.1.0; from 100 on they are a plugin's own. */
enum { INVALID_ENVIRONMENT = 4, IO_FAILURE = 5, TRY_AGAIN = 11, NOT_AVAILABLE = 50, MISUNDERSTOOD = 100 };

static const char *const VARIABLES[] = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS",
                                        "CNI_IFNAME",  "CNI_ARGS",        "CNI_PATH"};
static const char VERSION_RESULT[] =
    "{\"cniVersion\": \"1.1.0\", \"supportedVersions\": [\"0.3.1\", \"0.4.0\", \"1.0.0\", \"1.1.0\"]}";

static unsigned char buffer[REQUEST_HEADER + LARGEST_BODY + 1];
static const char *command, *socket_path;
static int64_t timeout_ms = TIMEOUT_SECONDS * 1000, deadline_ms;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void print(const void *data, size_t length) {
    const char *next = data;
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, next, length);
        if (written < 0 && errno != EINTR) return; /* the runtime is gone; nobody is left to be told */
        if (written > 0) next += written, length -= (size_t)written;
    }
}

/* Prints a CNI error and returns the exit code. A path may hold any byte: what JSON does not allow becomes '?'. */
__attribute__((format(printf, 2, 3))) static int fail(int code, const char *format, ...) {
    char message[512], text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    int length = snprintf(text, sizeof text, "{\"cniVersion\": \"1.1.0\", \"code\": %d, \"msg\": \"", code);
    for (const char *c = message; *c; c++) {
        if (*c == '"' || *c == '\\') text[length++] = '\\';
        text[length++] = *c >= 0x20 && *c < 0x7f ? *c : '?';
    }
    length += snprintf(text + length, sizeof text - (size_t)length, "\"}");
    print(text, (size_t)length);
    return 1;
}

static int is_removal(void) { return !strcmp(command, "DEL") || !strcmp(command, "GC"); }

/* The code that makes the runtime come back: STATUS has one of its own. */
static int later(void) { return strcmp(command, "STATUS") ? TRY_AGAIN : NOT_AVAILABLE; }

static int fail_timeout(void) {
    return fail(later(), "the agent at %s gave no answer within %d seconds", socket_path, (int)(timeout_ms / 1000));
}

static int fail_cut(void) {
    return fail(later(), "the agent at %s closed the connection before its answer was complete", socket_path);
}

static int fail_misunderstood(void) {
    return fail(is_removal() ? TRY_AGAIN : MISUNDERSTOOD, "the agent at %s answered in another protocol", socket_path);
}

static void put_length(unsigned char *to, uint32_t length) {
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(length >> (8 * i));
}

static uint32_t get_length(const unsigned char *from) {
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* Writes the request into the buffer. Returns its length, 0 when it is longer than the protocol allows. */
static size_t fill_request(void) {
    size_t end = REQUEST_HEADER;
    for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++) {
        const char *value = getenv(VARIABLES[i]);
        size_t length = value ? strlen(value) + 1 : 1;
        if (length > sizeof buffer - end) return 0;
        memcpy(buffer + end, value ? value : "", length);
        end += length;
    }
    while (end < sizeof buffer) {
        ssize_t got = read(STDIN_FILENO, buffer + end, sizeof buffer - end);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        end += (size_t)got;
    }
    if (end == sizeof buffer) return 0;
    memcpy(buffer, MAGIC, 4);
    put_length(buffer + 4, (uint32_t)(end - REQUEST_HEADER));
    return end;
}

/* Returns a connected socket, or the negative errno. Linux applies the send timeout to connect(2), see socket(7). */
static int reach_agent(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = timeout_ms / 1000};
    strcpy(address.sun_path, socket_path); /* main() has measured it */
    int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (agent < 0) return -errno;
    setsockopt(agent, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(agent, (struct sockaddr *)&address, sizeof address) == 0) return agent;
    int error = errno;
    close(agent);
    return -error;
}

static int nobody_listens(int agent) { return agent == -ENOENT || agent == -ECONNREFUSED; }

/* An ADD waits out a restart of the agent, for a refusal would cost the pod its whole sandbox. */
static int64_t patience_ms(void) {
    int64_t patience = !strcmp(command, "ADD") ? RESTART_MS : !strcmp(command, "STATUS") ? UPGRADE_MS : 0;
    return timeout_ms < patience ? timeout_ms : patience;
}

/* As reach_agent(), again and again while nobody listens. */
static int await_agent(void) {
    int64_t end_ms = now_ms() + patience_ms();
    int agent = reach_agent();
    while (nobody_listens(agent) && now_ms() < end_ms) {
        poll(NULL, 0, RETRY_MS);
        agent = reach_agent();
    }
    return agent;
}

/* Sends the request, the descriptor with its first bytes. Returns 0, or -1 with errno. */
static int send_request(int agent, size_t length, int netns) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } control = {.bytes = {0}};
    struct iovec data = {.iov_base = buffer, .iov_len = length};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (netns >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        *rights = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof netns)};
        memcpy(CMSG_DATA(rights), &netns, sizeof netns);
    }
    ssize_t sent = sendmsg(agent, &message, 0);
    for (size_t total = 0; sent >= 0; sent = send(agent, buffer + total, length - total, 0)) {
        total += (size_t)sent;
        if (total == length) return 0;
        if (now_ms() >= deadline_ms) return errno = EAGAIN, -1;
    }
    return -1;
}

/* Receives exactly length bytes by the deadline. Returns 1, 0 when the agent closed before, -1 when time is up. */
static int receive(int agent, unsigned char *to, size_t length) {
    struct pollfd readable = {.fd = agent, .events = POLLIN};
    while (length > 0) {
        int64_t left = deadline_ms - now_ms();
        if (left <= 0 || poll(&readable, 1, (int)left) == 0) return -1;
        ssize_t got = recv(agent, to, length, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got <= 0) return 0;
        to += got, length -= (size_t)got;
    }
    return 1;
}

static int pass_on_reply(int agent) {
    unsigned char header[REPLY_HEADER];
    int complete = receive(agent, header, sizeof header);
    if (complete <= 0) return complete ? fail_timeout() : fail_cut();
    uint32_t length = get_length(header + 4);
    if (memcmp(header, MAGIC, 4) || length > LARGEST_BODY) return fail_misunderstood();
    complete = receive(agent, buffer, length);
    if (complete <= 0) return complete ? fail_timeout() : fail_cut();
    print(buffer, length);
    return header[8];
}

static int forward(void) {
    const char *netns_path = getenv("CNI_NETNS");
    size_t length = fill_request();
    if (!length) return fail(IO_FAILURE, "the request is longer than the %u bytes the agent accepts", LARGEST_BODY);
    deadline_ms = now_ms() + timeout_ms;
    /* A path that cannot be opened is the agent's to judge: an error for ADD, nothing for DEL. Opened before the agent
     * is connected to, which then finds the request there when it accepts. */
    int netns = netns_path && *netns_path ? open(netns_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    int agent = await_agent();
    if (nobody_listens(agent) && is_removal()) return 0;
    if (agent == -EAGAIN) return fail_timeout();
    if (agent < 0) return fail(later(), "cannot reach the agent at %s: %s", socket_path, strerror(-agent));
    if (send_request(agent, length, netns) < 0) return errno == EAGAIN ? fail_timeout() : fail_cut();
    return pass_on_reply(agent);
}

int main(void) {
    const char *timeout = getenv("ENI_AGENT_TIMEOUT");
    signal(SIGPIPE, SIG_IGN); /* whoever has gone shows as an error of write(2) */
    command = getenv("CNI_COMMAND");
    socket_path = getenv("ENI_AGENT_SOCKET");
    if (!command || !*command)
        return fail(INVALID_ENVIRONMENT, "CNI_COMMAND is not set; it is ADD, DEL, CHECK, GC, STATUS or VERSION");
    if (!strcmp(command, "VERSION")) return print(VERSION_RESULT, sizeof VERSION_RESULT - 1), 0;
    if (!socket_path || !*socket_path) socket_path = AGENT_SOCKET;
    if (strlen(socket_path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return fail(INVALID_ENVIRONMENT, "ENI_AGENT_SOCKET is longer than the 107 bytes a socket's path may have");
    if (timeout && *timeout) {
        timeout_ms = strspn(timeout, "0123456789") == strlen(timeout) && strlen(timeout) < 5 ? atoi(timeout) * 1000 : 0;
        if (!timeout_ms) return fail(INVALID_ENVIRONMENT, "ENI_AGENT_TIMEOUT is %s; 1 to 9999 seconds are allowed", timeout);
    }
    return forward();
}
