/* A libnvidia-ml.so.1 without a GPU: what it answers stands in the text file that STOKER_NVML_STUB names.
 *
 * The file is looked at again at each call, so that a test changes what happens while the exporter runs. A line is one of
 *
 *   driver VERSION             init CODE                  reload NUMBER (another one: every call is UNINITIALIZED till init)
 *   slots SLOT SLOT ...        the GPUs that there are; the order at nvmlInit is the order of indices
 *   gpu SLOT NAME VALUE        a value; one that is not there is "not supported"
 *   fail SLOT FUNCTION CODE    SLOT and FUNCTION may be *
 *   hang SLOT FUNCTION         until the line is gone
 *   xid NUMBER SLOT CODE       an event; NUMBERs rise
 *   process SLOT PID MIB INSTANCE
 *   mig SLOT INSTANCE PROFILE TOTAL_MIB USED_MIB
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMED_OUT = 10, LOST = 15 };
enum { SLOTS = 16, RULES = 64, EVENTS = 64, PROCESSES = 64, PARTS = 32, ANY = -1 };
typedef unsigned long long u64;

#define NUMBERS(X) X(util) X(mem_util) X(total) X(used) X(reserved) X(temp) X(mem_temp) X(power) X(limit) X(energy) \
    X(sm_clock) X(mem_clock) X(reasons) X(replay) X(sbe_vol) X(dbe_vol) X(sbe_agg) X(dbe_agg) X(remap_corr) \
    X(remap_unc) X(remap_pending) X(remap_failure) X(enc) X(dec) X(nvlink_tx) X(nvlink_rx) X(minor) X(mig_mode)
#define AS_ENUM(name) N_##name,
#define AS_TEXT(name) #name,
enum { NUMBERS(AS_ENUM) COUNT };
static const char *const NAMES[] = {NUMBERS(AS_TEXT)};

typedef struct { int slot, instance; char profile[32]; u64 total, used; } Part;
typedef struct { int slot; char uuid[96], name[96], bus[32]; int known[COUNT]; u64 value[COUNT]; } Gpu;
typedef struct { int slot, code, hang; char function[64]; } Rule;
typedef struct { int number, slot; u64 code; } Event;
typedef struct { int slot, instance; unsigned pid; u64 mib; } Process;
typedef struct {
    char driver[80];
    int init, reload, slots, slot[SLOTS], rules, events, processes, parts;
    Gpu gpu[SLOTS];
    Rule rule[RULES];
    Event event[EVENTS];
    Process process[PROCESSES];
    Part part[PARTS];
} World;
typedef struct { int slots, slot[SLOTS], last, watch; } Set;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static World world;
static struct stat seen;
static int inited, reload_at_init, shown, order[SLOTS];
static Gpu *const first = world.gpu;

static void line(const char *text) {
    char name[64], value[96];
    int slot, code;
    Rule rule = {.slot = ANY};
    Event event;
    Process process;
    Part part;
    if (sscanf(text, "driver %79s", world.driver) == 1 || sscanf(text, "init %d", &world.init) == 1 ||
        sscanf(text, "reload %d", &world.reload) == 1)
        return;
    if (strncmp(text, "slots", 5) == 0) {
        char *end = (char *)text + 5;
        for (char *at = end; world.slots < SLOTS; at = end) {
            slot = (int)strtol(at, &end, 10);
            if (end == at) break;
            world.slot[world.slots++] = slot;
        }
    } else if (sscanf(text, "gpu %d %63s %95[^\n]", &slot, name, value) == 3 && slot >= 0 && slot < SLOTS) {
        Gpu *gpu = &world.gpu[slot];
        if (!strcmp(name, "uuid")) snprintf(gpu->uuid, sizeof gpu->uuid, "%s", value);
        if (!strcmp(name, "name")) snprintf(gpu->name, sizeof gpu->name, "%s", value);
        if (!strcmp(name, "bus")) snprintf(gpu->bus, sizeof gpu->bus, "%.31s", value);
        for (int i = 0; i < COUNT; i++)
            if (!strcmp(name, NAMES[i])) gpu->known[i] = 1, gpu->value[i] = strtoull(value, NULL, 10);
    } else if (sscanf(text, "fail * %63s %d", rule.function, &code) == 2 ||
               sscanf(text, "fail %d %63s %d", &rule.slot, rule.function, &code) == 3) {
        rule.code = code;
        if (world.rules < RULES) world.rule[world.rules++] = rule;
    } else if (sscanf(text, "hang * %63s", rule.function) == 1 ||
               sscanf(text, "hang %d %63s", &rule.slot, rule.function) == 2) {
        rule.hang = 1;
        if (world.rules < RULES) world.rule[world.rules++] = rule;
    } else if (sscanf(text, "xid %d %d %llu", &event.number, &event.slot, &event.code) == 3) {
        if (world.events < EVENTS) world.event[world.events++] = event;
    } else if (sscanf(text, "process %d %u %llu %d", &process.slot, &process.pid, &process.mib, &process.instance) == 4) {
        if (world.processes < PROCESSES) world.process[world.processes++] = process;
    } else if (sscanf(text, "mig %d %d %31s %llu %llu", &part.slot, &part.instance, part.profile, &part.total,
                      &part.used) == 5) {
        if (world.parts < PARTS) world.part[world.parts++] = part;
    }
}

/* With the lock held. Files are written by rename, so that none is seen half. */
static void look(void) {
    struct stat now;
    const char *path = getenv("STOKER_NVML_STUB");
    if (path == NULL || stat(path, &now) != 0) return;
    if (now.st_ino == seen.st_ino && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    seen = now;
    memset(&world, 0, sizeof world);
    for (int i = 0; i < SLOTS; i++) world.gpu[i].slot = i;
    char text[256];
    while (fgets(text, sizeof text, file) != NULL) line(text);
    fclose(file);
}

static const Rule *rule_for(int slot, const char *function, int hang) {
    for (int i = 0; i < world.rules; i++) {
        const Rule *rule = &world.rule[i];
        if (rule->hang == hang && (rule->slot == ANY || rule->slot == slot) &&
            (!strcmp(rule->function, "*") || !strcmp(rule->function, function)))
            return rule;
    }
    return NULL;
}

static int present(int slot) {
    for (int i = 0; i < world.slots; i++)
        if (world.slot[i] == slot) return 1;
    return 0;
}

/* What any call begins with; slot ANY is the whole library. Leaves the lock held. */
static int enter(int slot, const char *function) {
    pthread_mutex_lock(&lock);
    look();
    while (rule_for(slot, function, 1) != NULL) {
        pthread_mutex_unlock(&lock);
        usleep(2000);
        pthread_mutex_lock(&lock);
        look();
    }
    if (strncmp(function, "nvmlInit", 8) && (!inited || reload_at_init != world.reload)) return UNINITIALIZED;
    const Rule *rule = rule_for(slot, function, 0);
    if (rule != NULL) return rule->code;
    return slot != ANY && !present(slot) ? LOST : OK;
}

static int leave(int code) {
    pthread_mutex_unlock(&lock);
    return code;
}

static int is_part(const void *device) {
    return (const char *)device >= (const char *)world.part && (const char *)device < (const char *)(world.part + PARTS);
}

static int slot_of(const void *device) {
    return is_part(device) ? ((const Part *)device)->slot : (int)((const Gpu *)device - first);
}
