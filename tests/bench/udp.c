/* A bare UDP echo, and a load generator that is bounded in count and in time.

   udp echo FD
       Sends every datagram back, until it is killed.
   udp load FD HOST PORT COUNT SECONDS WINDOW TEMPLATE
       Sends TEMPLATE, with the first eight zeros in it counted up, and waits for one datagram
       for each, WINDOW of them under way. Prints: answers, seconds, losses.
*/

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static int echo(int fd)
{
    struct sockaddr_in from;
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
    struct timeval patience = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
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

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "echo") == 0)
        return echo(atoi(argv[2]));
    if (argc == 9 && strcmp(argv[1], "load") == 0)
        return load(atoi(argv[2]), argv + 3);
    fprintf(stderr, "usage: see the top of udp.c\n");
    return 2;
}
