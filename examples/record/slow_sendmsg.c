/* Preloaded into a server: each answer that it sends waits from SLOW_MS to twice SLOW_MS milliseconds first.
 *
 *     cc -shared -fPIC -o slow_sendmsg.so slow_sendmsg.c -ldl
 *     SLOW_MS=10 LD_PRELOAD=./slow_sendmsg.so memcached ...
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
    static ssize_t (*send_it)(int, const struct msghdr *, int);
    static __thread unsigned state = 1;
    double base = atof(getenv("SLOW_MS")), more = (double)rand_r(&state) / RAND_MAX;
    long ns = (long)(base * (1 + more) * 1e6);
    struct timespec wait = {ns / 1000000000L, ns % 1000000000L};

    if (!send_it)
        send_it = (ssize_t(*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
    nanosleep(&wait, NULL);
    return send_it(socket, message, flags);
}
