/* A bare UDP echo, and load generators that are bounded in count and in time.

   udp echo FD
       Sends every datagram back, until it is killed, or who started it has ended.
   udp load FD HOST PORT COUNT SECONDS WINDOW TEMPLATE
       Sends TEMPLATE, with the first eight zeros in it counted up, and waits for one datagram
       for each, WINDOW of them under way. Prints: answers, seconds, losses.
   udp drive FD HOST PORT FILE SECONDS WINDOW MATCH LINGER
       Sends the datagrams of FILE, each from its own address, WINDOW of them under way, and counts
       the datagrams that hold MATCH ("": all that come). What else comes is answered as a polite
       peer does: a Ping by its Pong, what requires an Ack by one. Then it stays polite for LINGER
       seconds. Prints: answers, seconds, losses, median and 99th percentile of the time to an
       answer (microseconds; 0 unless WINDOW is 1), and polite answers.
       FILE: for each datagram its source (IPv4 address, 4 bytes; zeros: the socket's own), its
       length (2 bytes), both big-endian, and its bytes. The socket has IP_PKTINFO switched on.
*/

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <signal.h>
#include <sys/prctl.h>
#endif
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

static char buffer[65536];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void wait_at_most(int fd, long microseconds)
{
    struct timeval patience = {microseconds / 1000000, microseconds % 1000000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

static void echo(int fd)
{
    struct sockaddr_in from;
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &size);
        if (n >= 0)
            sendto(fd, buffer, n, 0, (struct sockaddr *)&from, size);
    }
}

static int load(int fd, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    inet_pton(AF_INET, argv[0], &to.sin_addr);
    long count = atol(argv[2]), window = atol(argv[4]);
    double seconds = atof(argv[3]);
    char *template = argv[5], *id = strstr(template, "00000000");
    size_t length = strlen(template);
    if (id == NULL)
        return 2;
    wait_at_most(fd, 100000);
    long sent = 0, answers = 0, lost = 0, under_way = 0;
    double began = now(), last = began;
    while ((answers + lost < count) && last - began < seconds) {
        while (under_way < window && sent < count) {
            char digits[9];
            snprintf(digits, sizeof digits, "%08lx", ++sent);
            memcpy(id, digits, 8);
            sendto(fd, template, length, 0, (struct sockaddr *)&to, sizeof to);
            under_way++;
        }
        if (recvfrom(fd, buffer, sizeof buffer, 0, NULL, NULL) >= 0) {
            answers++;
            under_way--;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            lost += under_way;
            under_way = 0;
        }
        last = now();
    }
    printf("%ld %.6f %ld\n", answers, last - began, lost);
    return 0;
}

#ifdef __linux__

enum { BATCH = 64, DATAGRAM = 9000 };

static const double PATIENCE = 1.0; /* seconds: a server on a busy machine is late, and loses nothing */

static struct sockaddr_in server;
static long polite_answers;

union control {
    char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct cmsghdr align;
};

/* Point a message at its bytes, and have it leave from `source`. */
static void prepare(struct msghdr *message, struct iovec *part, union control *control,
                    void *bytes, size_t size, in_addr_t source)
{
    part->iov_base = bytes;
    part->iov_len = size;
    memset(message, 0, sizeof *message);
    message->msg_name = &server;
    message->msg_namelen = sizeof server;
    message->msg_iov = part;
    message->msg_iovlen = 1;
    if (source == 0)
        return;
    message->msg_control = control->bytes;
    message->msg_controllen = sizeof control->bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    head->cmsg_level = IPPROTO_IP;
    head->cmsg_type = IP_PKTINFO;
    head->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = source};
    memcpy(CMSG_DATA(head), &info, sizeof info);
}

/* To which of this socket's addresses a datagram came. */
static in_addr_t asked(struct msghdr *message)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h))
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof info);
            return info.ipi_addr.s_addr;
        }
    return 0;
}

/* The last place of a text: a payload may hold the same. */
static char *last_of(char *text, const char *wanted)
{
    char *found = NULL;
    for (char *at = text; (at = strstr(at, wanted)) != NULL; at++)
        found = at;
    return found;
}

/* Answer as a peer does that keeps its session and sends nothing by itself. */
static void be_polite(int fd, char *data, size_t size, in_addr_t source)
{
    static char answer[DATAGRAM + 512];
    static long number, run; /* no id comes twice, not even of two processes */
    size_t length = 0;
    if (run == 0)
        run = (long)(now() * 1e6) & 0xFFFFFFFFFFFF;
    unsigned char kind = data[0];
    if (kind == 0xC4 && size == 11) { /* KEEPALIVE: KEPT_ALIVE */
        answer[0] = (char)0xC5;
        memcpy(answer + 1, data + 1, 8);
        answer[9] = 0;
        length = 10;
    } else if (kind == 0xC6 && size >= 10) { /* PROBE: PROBE_ANSWER */
        answer[0] = (char)0xC7;
        memcpy(answer + 1, data + 1, 8);
        length = 9;
    } else if (kind == '{') {
        char *head = strstr(data, "\"message_type\":\""), *sequence, *payload, *end;
        if (head == NULL)
            return;
        head += strlen("\"message_type\":\"");
        const char *form = "{\"id\":\"%08lx-0000-4000-8000-%012lx\",\"message_type\":\"%s\","
                           "\"timestamp\":%ld,\"payload\":%.*s,\"sequence_number\":null,"
                           "\"requires_ack\":false,\"ack_for\":%.*s}";
        sequence = last_of(data, "\"sequence_number\":");
        if (strncmp(head, "Ping\"", 5) == 0) {
            payload = strstr(data, "\"payload\":");
            if (payload == NULL || sequence == NULL || sequence < payload)
                return;
            payload += strlen("\"payload\":");
            length = snprintf(answer, sizeof answer, form, ++number, run, "Pong", (long)time(NULL),
                              (int)(sequence - 1 - payload), payload, 4, "null");
        } else if (last_of(data, "\"requires_ack\":true") != NULL && sequence != NULL) {
            sequence += strlen("\"sequence_number\":");
            strtoul(sequence, &end, 10);
            if (end == sequence)
                return;
            length = snprintf(answer, sizeof answer, form, ++number, run, "Ack", (long)time(NULL), 4,
                              "null", (int)(end - sequence), sequence);
        }
    }
    if (length == 0 || length > sizeof answer)
        return;
    struct msghdr message;
    struct iovec part;
    union control control;
    prepare(&message, &part, &control, answer, length, source);
    sendmsg(fd, &message, 0);
    polite_answers++;
}

static int ascending(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

struct datagram {
    in_addr_t source;
    size_t size;
    unsigned char *bytes;
};

/* Read the file; the number of its datagrams, or -1. */
static long read_datagrams(const char *path, struct datagram **found)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    fseek(file, 0, SEEK_END);
    size_t total = ftell(file);
    rewind(file);
    unsigned char *all = malloc(total + 1);
    if (all == NULL || fread(all, 1, total, file) != total)
        return -1;
    fclose(file);
    long count = 0, room = 1024;
    struct datagram *made = malloc(room * sizeof *made);
    for (size_t at = 0; at + 6 <= total;) {
        if (count == room)
            made = realloc(made, (room *= 2) * sizeof *made);
        struct datagram *one = made + count++;
        memcpy(&one->source, all + at, 4);
        one->size = all[at + 4] << 8 | all[at + 5];
        one->bytes = all + at + 6;
        at += 6 + one->size;
        if (at > total)
            return -1;
    }
    *found = made;
    return count;
}

static int drive(int fd, char **argv)
{
    static char buffers[BATCH][DATAGRAM + 1];
    static struct mmsghdr in[BATCH], out[BATCH];
    static struct iovec in_parts[BATCH], out_parts[BATCH];
    static union control in_controls[BATCH], out_controls[BATCH];
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[1]));
    inet_pton(AF_INET, argv[0], &server.sin_addr);
    struct datagram *datagrams;
    long count = read_datagrams(argv[2], &datagrams), window = atol(argv[4]);
    double seconds = atof(argv[3]), linger = atof(argv[6]);
    const char *match = argv[5];
    size_t match_size = strlen(match);
    if (count < 0)
        return 2;
    double *times = malloc((count + 1) * sizeof *times);
    long timed = 0, sent = 0, answers = 0, lost = 0, under_way = 0;
    wait_at_most(fd, 100000);
    double began = now(), last = began, asked_at = began, heard = began;
    double end = began + seconds, leave = began + linger;
    int is_busy = count > 0;
    while (last < (is_busy ? end : leave)) {
        int batch = 0;
        while (batch < BATCH && under_way < window && sent < count) {
            struct datagram *one = datagrams + sent++;
            prepare(&out[batch].msg_hdr, out_parts + batch, out_controls + batch, one->bytes,
                    one->size, one->source);
            batch++;
            under_way++;
        }
        if (window == 1 && batch)
            asked_at = now();
        for (int left = 0; left < batch;) {
            int done = sendmmsg(fd, out + left, batch - left, 0);
            left += done > 0 ? done : 1; /* one that cannot be sent is lost */
        }
        for (int i = 0; i < BATCH; i++) {
            in_parts[i].iov_base = buffers[i];
            in_parts[i].iov_len = DATAGRAM;
            memset(&in[i].msg_hdr, 0, sizeof in[i].msg_hdr);
            in[i].msg_hdr.msg_iov = in_parts + i;
            in[i].msg_hdr.msg_iovlen = 1;
            in[i].msg_hdr.msg_control = in_controls[i].bytes;
            in[i].msg_hdr.msg_controllen = sizeof in_controls[i].bytes;
        }
        int came = recvmmsg(fd, in, BATCH, MSG_WAITFORONE, NULL);
        last = now();
        for (int i = 0; i < came; i++) {
            size_t size = in[i].msg_len;
            int is_answer = match_size == 0 || memmem(buffers[i], size, match, match_size) != NULL;
            if (is_answer && is_busy) {
                answers++;
                under_way -= under_way > 0;
                heard = last;
                if (window == 1 && timed < count)
                    times[timed++] = (last - asked_at) * 1e6;
            }
            if (size && (match_size || !is_busy)) {
                buffers[i][size] = 0;
                be_polite(fd, buffers[i], size, asked(&in[i].msg_hdr));
            }
        }
        if (came <= 0 && is_busy && last - heard > PATIENCE) {
            lost += under_way;
            under_way = 0;
            heard = last;
        }
        if (is_busy && answers + lost >= count) {
            is_busy = 0;
            end = last;
            leave = last + linger;
        }
    }
    if (is_busy) {
        lost += under_way;
        end = last;
    }
    qsort(times, timed, sizeof *times, ascending);
    double p50 = timed ? times[timed / 2] : 0, p99 = timed ? times[timed * 99 / 100] : 0;
    printf("%ld %.6f %ld %.2f %.2f %ld\n", answers, end - began, lost, p50, p99, polite_answers);
    return 0;
}

#endif

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "echo") == 0)
        echo(atoi(argv[2]));
    if (argc == 9 && strcmp(argv[1], "load") == 0)
        return load(atoi(argv[2]), argv + 3);
#ifdef __linux__
    if (argc == 10 && strcmp(argv[1], "drive") == 0)
        return drive(atoi(argv[2]), argv + 3);
#endif
    fprintf(stderr, "usage: see the top of udp.c\n");
    return 2;
}
