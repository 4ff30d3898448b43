/* The endpoint that benchmarks run against: one thread, epoll, HTTP/1.1 with kept connections, on loopback only.

   server [PORT]                     prints its port first; 0, the default, picks a free one
   server PORT CERTIFICATE KEY       the same over TLS, where it was compiled with -DTLS; both are files in PEM

   POST [PREFIX...]/api/v1                the envelope of Dataoorts
   POST [PREFIX...]/v1/chat/completions   OpenAI's chat completion
   GET  /stats                            what was asked since the last reset, as JSON (see `write_stats`)
   GET  /reset?seed=N                     begin anew, with the latencies of seed N
   GET  anything else                     OpenAI's list of models, with one model

   Prefixes of the path, in any order:
     /fixed/SECONDS                a reply comes so long after its request
     /lognormal/MEAN/SIGMA         log-normal latency: its mean in seconds, the standard deviation of its logarithm
     /at-once/N                    so many requests are worked on at once; the latency of the others begins when one of
                                   these has ended
     /bytes/N                      the length of an answer's text; 700 without
     /events/N                     OpenAI's stream: the text in N server-sent events, then the reason of its end, the
                                   usage and [DONE]

   The latency of a request depends on the seed and on how many requests came before it, on nothing else, so that a
   program that knows both can compute the best schedule that was possible (benchmarks/latencies.py does).

   An answer's text begins with the marker "[row 0000000123]" of its prompt, so that an answer can be told from another
   row's. A request without Content-Length is refused with 411: no client here sends one. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>
#endif

enum {
    MOST_CONNECTIONS = 1 << 16,
    MOST_HEAD = 1 << 14,
    FIRST_BUFFER = 1 << 13,
    MARKER_LENGTH = 16,
    MOST_TEXTS = 16,
    USUAL_TEXT = 700,
    EVENTS_AT_ONCE = 512,
    MOST_WORKERS = 1024,
};

typedef enum { DATAOORTS, OPENAI, APIS } Api;

/* A reply as it is sent, but for the marker, which goes to `marker`. */
typedef struct {
    Api api;
    size_t text_length, events;
    char *bytes;
    size_t length, marker;
} Template;

typedef struct {
    char *input;              /* what was received and is not used yet */
    size_t input_length, input_size;
    char *unsent;             /* what the kernel did not take of a reply */
    size_t unsent_length, unsent_from;
    uint32_t generation;      /* tells a connection from a later one of the same number */
    bool waits;               /* its request's latency is not over */
    bool closes;              /* the client asked for the connection to end after this reply */
#ifdef TLS
    SSL *tls;
#endif
    const Template *reply;
    char marker[MARKER_LENGTH];
} Connection;

typedef struct {
    double due;
    int number;
    uint32_t generation;
} Timer;

static Connection connections[MOST_CONNECTIONS];
static int poll_fd, timer_fd;
static double now;            /* monotonic seconds, as Python's time.monotonic() has them */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *allocate(void *old, size_t size) {
    void *found = realloc(old, size);
    if (!found) fail("server");
    return found;
}

static double clock_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* ---- latencies */

static uint64_t seed;

/* SplitMix64, https://prng.di.unimi.it/splitmix64.c, used as a hash of the seed and a counter. */
static double uniform(uint64_t counter) {
    uint64_t z = seed * 0xD1342543DE82EF95u + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return ((z >> 11) + 0.5) * 0x1p-53;
}

static double lognormal(uint64_t request, double mean, double sigma) {
    double normal = sqrt(-2 * log(uniform(2 * request))) * cos(2 * M_PI * uniform(2 * request + 1));
    return mean * exp(sigma * normal - sigma * sigma / 2);
}

/* ---- the requests that are worked on at once */

static double free_at[MOST_WORKERS];

/* When a reply is due whose request waits for the first of `count` workers. */
static double worked_on(size_t count, double latency) {
    size_t first = 0;
    for (size_t worker = 1; worker < count && worker < MOST_WORKERS; worker++)
        if (free_at[worker] < free_at[first]) first = worker;
    return free_at[first] = (free_at[first] > now ? free_at[first] : now) + latency;
}

/* ---- what was asked */

static struct {
    uint64_t requests, replies, connections, bytes_received, unique;
    double first, last;                  /* when the first request had come in, and the last reply gone out */
    double latency_total;
    int in_flight, peak_in_flight;
    double in_flight_seconds, counted_at; /* the integral of in_flight up to counted_at */
} stats;

static uint64_t *seen;                   /* hashes of request bodies, open addressing, 0 is free */
static size_t seen_size;

static void count_in_flight(int change) {
    stats.in_flight_seconds += stats.in_flight * (now - stats.counted_at);
    stats.counted_at = now;
    stats.in_flight += change;
    if (stats.in_flight > stats.peak_in_flight) stats.peak_in_flight = stats.in_flight;
}

static uint64_t hash(const char *bytes, size_t length) {
    uint64_t value = length;
    for (; length >= 8; bytes += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        value = (value ^ word) * 0x9E3779B97F4A7C15u;
        value ^= value >> 32;
    }
    for (; length; bytes++, length--) value = (value ^ (unsigned char)*bytes) * 0xBF58476D1CE4E5B9u;
    value ^= value >> 29;
    return value ? value : 1;
}

static bool insert(uint64_t *table, size_t size, uint64_t value) {
    size_t at = value & (size - 1);
    while (table[at] && table[at] != value) at = (at + 1) & (size - 1);
    bool is_new = !table[at];
    table[at] = value;
    return is_new;
}

static void count_body(const char *body, size_t length) {
    if (2 * stats.unique >= seen_size) {
        size_t size = seen_size ? 2 * seen_size : 1 << 16;
        uint64_t *larger = calloc(size, sizeof *larger);
        if (!larger) fail("server");
        for (size_t at = 0; at < seen_size; at++)
            if (seen[at]) insert(larger, size, seen[at]);
        free(seen);
        seen = larger;
        seen_size = size;
    }
    stats.unique += insert(seen, seen_size, hash(body, length));
}

static void reset(uint64_t new_seed) {
    int in_flight = stats.in_flight;
    memset(&stats, 0, sizeof stats);
    stats.in_flight = stats.peak_in_flight = in_flight;
    stats.counted_at = now;
    if (seen) memset(seen, 0, seen_size * sizeof *seen);
    memset(free_at, 0, sizeof free_at);
    seed = new_seed;
}

/* Times are monotonic seconds, null before there is one; in_flight_mean is over the time from `first` to `last`. */
static int write_stats(char *text, size_t size) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    double span = stats.replies ? stats.last - stats.first : 0;
    char first[32] = "null", last[32] = "null";
    if (stats.requests) snprintf(first, sizeof first, "%.6f", stats.first);
    if (stats.replies) snprintf(last, sizeof last, "%.6f", stats.last);
    return snprintf(
        text, size,
        "{\"requests\": %lu, \"replies\": %lu, \"unique\": %lu, \"connections\": %lu, \"bytes_received\": %lu, "
        "\"first\": %s, \"last\": %s, \"span\": %.6f, \"in_flight_mean\": %.3f, \"in_flight_peak\": %d, "
        "\"latency_total\": %.9f, \"cpu_seconds\": %.6f}",
        stats.requests, stats.replies, stats.unique, stats.connections, stats.bytes_received, first, last, span,
        span > 0 ? stats.in_flight_seconds / span : 0, stats.peak_in_flight, stats.latency_total, cpu);
}

/* ---- replies */

static const char *const HEADS[APIS] = {
    [DATAOORTS] = "{\"errors\":[],\"messages\":[],\"result\":{\"response\":\"",
    [OPENAI] = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"gpt-4o-mini\","
               "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
};
static const char *const TAILS[APIS] = {
    [DATAOORTS] = "\",\"tool_calls\":[],\"usage\":{\"prompt_tokens\":60,\"completion_tokens\":160,"
                  "\"total_tokens\":220}},\"success\":true}",
    [OPENAI] = "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":60,"
               "\"completion_tokens\":160,\"total_tokens\":220},\"system_fingerprint\":\"fp_1\"}",
};
static const char FILLER[] = "The river is old and the road along it is older; both know the way to the sea. ";

#define CHUNK "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000," \
              "\"model\":\"gpt-4o-mini\",\"choices\":"
#define DELTA CHUNK "[{\"index\":0,\"delta\":{\"content\":\""
#define DELTA_END "\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
static const char STREAM_TAIL[] = CHUNK "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
    CHUNK "[],\"usage\":{\"prompt_tokens\":60,\"completion_tokens\":160,\"total_tokens\":220}}\n\ndata: [DONE]\n\n";

/* The same answer as a stream: the marker is its first event, the rest of the text is spread over the others. */
static void make_stream(Template *made, size_t text_length, size_t events) {
    size_t rest = text_length - MARKER_LENGTH, others = events > 1 ? events - 1 : 1;
    size_t body = (others + 1) * (strlen(DELTA) + strlen(DELTA_END)) + text_length + strlen(STREAM_TAIL);
    made->bytes = allocate(NULL, body + MOST_HEAD);
    size_t head = sprintf(made->bytes,
                          "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %zu\r\n\r\n", body);
    char *at = stpcpy(made->bytes + head, DELTA);
    made->marker = at - made->bytes;
    for (size_t event = 0, i = 0; event <= others; event++) {
        if (event) at = stpcpy(at, DELTA);
        size_t end = MARKER_LENGTH + rest * event / others;
        for (; i < end; i++) *at++ = FILLER[i % (sizeof FILLER - 1)];
        at = stpcpy(at, DELTA_END);
    }
    strcpy(at, STREAM_TAIL);
    made->length = head + body;
}

/* The template for a text of that length, kept from one request to the next; NULL where there are too many lengths. */
static const Template *find_template(Api api, size_t text_length, size_t events) {
    static Template templates[MOST_TEXTS * APIS];
    static int count;
    for (int at = 0; at < count; at++) {
        const Template *one = &templates[at];
        if (one->api == api && one->text_length == text_length && one->events == events) return one;
    }
    if (count == MOST_TEXTS * APIS) return NULL;
    if (text_length < MARKER_LENGTH) text_length = MARKER_LENGTH;

    Template *made = &templates[count++];
    made->api = api;
    made->text_length = text_length;
    made->events = events;
    if (events) {
        make_stream(made, text_length, events);
        return made;
    }
    size_t body = strlen(HEADS[api]) + text_length + strlen(TAILS[api]);
    made->bytes = allocate(NULL, body + MOST_HEAD);
    size_t head = sprintf(made->bytes,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body);
    char *at = stpcpy(made->bytes + head, HEADS[api]);
    made->marker = at - made->bytes;
    for (size_t i = 0; i < text_length; i++) *at++ = FILLER[i % (sizeof FILLER - 1)];
    strcpy(at, TAILS[api]);
    made->length = head + body;
    return made;
}

/* ---- bytes of a connection, as recv and send have them */

#ifdef TLS
static SSL_CTX *tls_context;

static void use_tls(const char *certificate, const char *key) {
    tls_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "server: the certificate or its key cannot be used\n");
        exit(1);
    }
}

static void begin_tls(int fd) {
    SSL *tls = connections[fd].tls = SSL_new(tls_context);
    if (!tls || SSL_set_fd(tls, fd) != 1) fail("SSL_new");
    SSL_set_accept_state(tls);
}

static void end_tls(int fd) {
    SSL_free(connections[fd].tls);
    connections[fd].tls = NULL;
}

static ssize_t result_of(SSL *tls, int done) {
    if (done > 0) return done;
    int error = SSL_get_error(tls, done);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

static ssize_t take_bytes(int fd, char *bytes, size_t length) {
    return result_of(connections[fd].tls, SSL_read(connections[fd].tls, bytes, length));
}

static ssize_t give_bytes(int fd, const char *bytes, size_t length) {
    return result_of(connections[fd].tls, SSL_write(connections[fd].tls, bytes, length));
}

/* Whether there are bytes that were decrypted already, of which epoll knows nothing. */
static bool has_more(int fd) { return connections[fd].tls && SSL_pending(connections[fd].tls) > 0; }
#else
static void begin_tls(int fd) { (void)fd; }
static void end_tls(int fd) { (void)fd; }
static ssize_t take_bytes(int fd, char *bytes, size_t length) { return recv(fd, bytes, length, 0); }
static ssize_t give_bytes(int fd, const char *bytes, size_t length) { return send(fd, bytes, length, MSG_NOSIGNAL); }
static bool has_more(int fd) { (void)fd; return false; }
#endif

static void watch(int fd, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll_fd, operation, fd, &event)) fail("epoll_ctl");
}

static void close_connection(int fd) {
    Connection *connection = &connections[fd];
    if (connection->waits) count_in_flight(-1);
    free(connection->unsent);
    connection->unsent = NULL;
    connection->waits = false;
    connection->input_length = 0;
    connection->generation++;
    end_tls(fd);
    close(fd);
}

/* Sends, and keeps what the kernel does not take. False where the client is gone. */
static bool send_bytes(int fd, const char *bytes, size_t length) {
    ssize_t sent = give_bytes(fd, bytes, length);
    if (sent < 0 && errno != EAGAIN) return false;
    size_t taken = sent < 0 ? 0 : sent;
    if (taken < length) {
        Connection *connection = &connections[fd];
        connection->unsent = allocate(NULL, length - taken);
        memcpy(connection->unsent, bytes + taken, length - taken);
        connection->unsent_length = length - taken;
        connection->unsent_from = 0;
        watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    }
    return true;
}

static bool send_rest(int fd) {
    Connection *connection = &connections[fd];
    size_t left = connection->unsent_length - connection->unsent_from;
    ssize_t sent = give_bytes(fd, connection->unsent + connection->unsent_from, left);
    if (sent < 0) return errno == EAGAIN;
    connection->unsent_from += sent;
    if (connection->unsent_from == connection->unsent_length) {
        free(connection->unsent);
        connection->unsent = NULL;
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
        stats.last = now;
    }
    return true;
}

static bool send_json(int fd, const char *status, const char *json) {
    char reply[2048];
    int length = snprintf(reply, sizeof reply,
                          "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
                          strlen(json), json);
    return send_bytes(fd, reply, length);
}

static bool answer(int fd) {
    static char *scratch;
    static size_t scratch_size;
    Connection *connection = &connections[fd];
    const Template *reply = connection->reply;
    if (scratch_size < reply->length) scratch = allocate(scratch, scratch_size = reply->length);
    memcpy(scratch, reply->bytes, reply->length);
    memcpy(scratch + reply->marker, connection->marker, MARKER_LENGTH);
    stats.replies++;
    stats.last = now;
    return send_bytes(fd, scratch, reply->length);
}

/* ---- requests that wait: a binary heap, the next one first */

static Timer *timers;
static size_t timer_count, timer_size;

static void push_timer(Timer timer) {
    if (timer_count == timer_size) {
        timer_size = timer_size ? 2 * timer_size : 1024;
        timers = allocate(timers, timer_size * sizeof *timers);
    }
    size_t at = timer_count++;
    for (; at && timers[(at - 1) / 2].due > timer.due; at = (at - 1) / 2) timers[at] = timers[(at - 1) / 2];
    timers[at] = timer;
}

static Timer pop_timer(void) {
    Timer first = timers[0], moved = timers[--timer_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < timer_count; at = child) {
        if (child + 1 < timer_count && timers[child + 1].due < timers[child].due) child++;
        if (moved.due <= timers[child].due) break;
        timers[at] = timers[child];
    }
    timers[at] = moved;
    return first;
}

/* Milliseconds, as epoll_wait has them, are too coarse. */
static void set_alarm(void) {
    double seconds, fraction = modf(timers[0].due, &seconds);
    struct itimerspec alarm = {.it_value = {(time_t)seconds, (long)(fraction * 1e9)}};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &alarm, NULL);
}

/* ---- requests */

static bool handle_get(int fd, const char *path) {
    char json[1024];
    if (!strncmp(path, "/stats", 6)) {
        count_in_flight(0);
        write_stats(json, sizeof json);
        return send_json(fd, "200 OK", json);
    }
    if (!strncmp(path, "/reset", 6)) {
        const char *found = strstr(path, "seed=");
        reset(found ? strtoull(found + 5, NULL, 10) : 0);
        return send_json(fd, "200 OK", "{}");
    }
    return send_json(fd, "200 OK",
                     "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o-mini\",\"object\":\"model\",\"created\":1,"
                     "\"owned_by\":\"benchmarks\"}]}");
}

static bool handle_post(int fd, const char *path, const char *body, size_t length) {
    Connection *connection = &connections[fd];
    double latency = 0;
    size_t text_length = USUAL_TEXT, events = 0, workers = 0;
    char *at = (char *)path;
    for (;;) {
        if (!strncmp(at, "/fixed/", 7)) latency = strtod(at + 7, &at);
        else if (!strncmp(at, "/lognormal/", 11)) {
            double mean = strtod(at + 11, &at);
            double sigma = *at ? strtod(at + 1, &at) : 0;
            latency = lognormal(stats.requests, mean, sigma);
        } else if (!strncmp(at, "/at-once/", 9)) workers = strtoul(at + 9, &at, 10);
        else if (!strncmp(at, "/bytes/", 7)) text_length = strtoul(at + 7, &at, 10);
        else if (!strncmp(at, "/events/", 8)) events = strtoul(at + 8, &at, 10);
        else break;
    }
    Api api = strcmp(at, "/api/v1") ? OPENAI : DATAOORTS;
    if (api == OPENAI && strcmp(at, "/v1/chat/completions"))
        return send_json(fd, "404 Not Found", "{\"error\": {\"message\": \"no such path\"}}");
    connection->reply = find_template(api, text_length, events);
    if (!connection->reply) return send_json(fd, "400 Bad Request", "{\"error\": {\"message\": \"too many lengths\"}}");

    const char *marker = memmem(body, length, "[row ", 5);
    if (marker && marker + MARKER_LENGTH <= body + length) memcpy(connection->marker, marker, MARKER_LENGTH);
    else memcpy(connection->marker, FILLER, MARKER_LENGTH);
    if (!stats.requests) {
        stats.first = stats.counted_at = now;
        stats.in_flight_seconds = 0;
    }
    stats.requests++;
    stats.latency_total += latency;
    count_body(body, length);
    count_in_flight(1);
    if (latency > 0) {
        connection->waits = true;
        push_timer((Timer){workers ? worked_on(workers, latency) : now + latency, fd, connection->generation});
        return true;
    }
    count_in_flight(-1);
    return answer(fd);
}

/* Handles the requests that have come in whole, one at a time. False where the connection is to be closed. */
static bool handle_input(int fd) {
    Connection *connection = &connections[fd];
    while (connection->input_length && !connection->waits && !connection->unsent) {
        if (connection->closes) return false;
        char *input = connection->input;
        char *end = memmem(input, connection->input_length, "\r\n\r\n", 4);
        if (!end) return connection->input_length < MOST_HEAD;
        size_t head = end + 4 - input, body = 0;
        bool has_length = false;
        for (char *line = memchr(input, '\n', head) + 1; line < end; line = memchr(line, '\n', input + head - line) + 1) {
            if (!strncasecmp(line, "content-length:", 15)) {
                body = strtoul(line + 15, NULL, 10);
                has_length = true;
            } else if (!strncasecmp(line, "connection: close", 17)) connection->closes = true;
        }
        bool is_get = !strncmp(input, "GET ", 4);
        if (!is_get && !has_length) {
            send_json(fd, "411 Length Required", "{\"error\": {\"message\": \"Content-Length is missing\"}}");
            return false;
        }
        if (connection->input_length < head + body) return true;

        char path[512] = "";
        sscanf(input, "%*15s %511s", path);
        stats.bytes_received += head + body;
        if (!(is_get ? handle_get(fd, path) : handle_post(fd, path, input + head, body))) return false;
        connection->input_length -= head + body;
        memmove(input, input + head + body, connection->input_length);
    }
    return !(connection->closes && !connection->waits && !connection->unsent);
}

static bool receive(int fd) {
    Connection *connection = &connections[fd];
    do {
        if (connection->input_length == connection->input_size)
            connection->input = allocate(connection->input, connection->input_size *= 2);
        ssize_t got = take_bytes(fd, connection->input + connection->input_length,
                                 connection->input_size - connection->input_length);
        if (got <= 0) return got < 0 && errno == EAGAIN;
        connection->input_length += got;
        if (!handle_input(fd)) return false;
    } while (has_more(fd));
    return true;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= MOST_CONNECTIONS) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *connection = &connections[fd];
        if (!connection->input) connection->input = allocate(NULL, connection->input_size = FIRST_BUFFER);
        connection->input_length = 0;
        connection->closes = false;
        stats.connections++;
        begin_tls(fd);
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void answer_due(void) {
    uint64_t expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("timerfd");
    while (timer_count && timers[0].due <= now) {
        Timer timer = pop_timer();
        Connection *connection = &connections[timer.number];
        if (connection->generation != timer.generation || !connection->waits) continue;
        connection->waits = false;
        count_in_flight(-1);
        if (!answer(timer.number) || !handle_input(timer.number)) close_connection(timer.number);
    }
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, SOMAXCONN)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void allow_connections(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    allow_connections();
#ifdef TLS
    if (count < 4) {
        fprintf(stderr, "server: PORT CERTIFICATE KEY\n");
        exit(2);
    }
    use_tls(words[2], words[3]);
#endif
    poll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = listen_on(count > 1 ? atoi(words[1]) : 0);
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(timer_fd, EPOLLIN, EPOLL_CTL_ADD);

    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        if (timer_count) set_alarm();
        int ready = epoll_wait(poll_fd, events, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            now = clock_seconds();
            if (fd == listener) accept_all(listener);
            else if (fd != timer_fd) {
                bool stays = !(events[i].events & EPOLLOUT) || send_rest(fd);
                if (stays) stays = events[i].events & ~EPOLLOUT ? receive(fd) : handle_input(fd);
                if (!stays) close_connection(fd);
            }
        }
        now = clock_seconds();
        answer_due();
    }
}
