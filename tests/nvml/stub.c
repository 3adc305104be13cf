/* The calls of NVML that an exporter needs, answered from the text file that world.h describes. */
#include "world.h"

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = enter(ANY, "nvmlInitWithFlags");
    if (code == OK) code = world.init;
    if (code != OK) return leave(code);
    inited++;
    reload_at_init = world.reload;
    shown = world.slots;
    memcpy(order, world.slot, sizeof order);
    return leave(OK);
}

int nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    if (inited > 0) inited--;
    return leave(OK);
}

const char *nvmlErrorString(int code) {
    static char text[40];
    snprintf(text, sizeof text, "stub code %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    int code = enter(ANY, "nvmlSystemGetDriverVersion");
    if (code == OK) snprintf(version, length, "%s", world.driver);
    return leave(code);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = enter(ANY, "nvmlDeviceGetCount_v2");
    if (code == OK) *count = (unsigned)shown;
    return leave(code);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    int code = enter((int)index < shown ? order[index] : ANY, "nvmlDeviceGetHandleByIndex_v2");
    if (code == OK && (int)index >= shown) code = INVALID;
    if (code == OK) *device = first + order[index];
    return leave(code);
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
    int code = enter(slot_of(device), "nvmlDeviceGetUUID");
    if (code == OK) snprintf(text, length, "%s", ((Gpu *)device)->uuid);
    return leave(code);
}

int nvmlDeviceGetName(void *device, char *text, unsigned length) {
    int code = enter(slot_of(device), "nvmlDeviceGetName");
    if (code != OK) return leave(code);
    if (is_part(device)) snprintf(text, length, "%s MIG %s", first[slot_of(device)].name, ((Part *)device)->profile);
    else snprintf(text, length, "%s", ((Gpu *)device)->name);
    return leave(OK);
}

int nvmlDeviceGetPciInfo_v3(void *device, void *info) {
    struct { char legacy[16]; unsigned domain, bus, device, id, system; char text[32]; } *out = info;
    int code = enter(slot_of(device), "nvmlDeviceGetPciInfo_v3");
    if (code == OK) snprintf(out->text, sizeof out->text, "%s", ((Gpu *)device)->bus);
    return leave(code);
}

static int number(void *device, const char *function, int which, u64 *out) {
    int code = enter(slot_of(device), function);
    const Gpu *gpu = device;
    if (code == OK && (is_part(device) || !gpu->known[which])) code = NOT_SUPPORTED;
    if (code == OK) *out = gpu->value[which];
    return leave(code);
}

static int narrow(void *device, const char *function, int which, unsigned *out) {
    u64 value = 0;
    int code = number(device, function, which, &value);
    if (code == OK) *out = (unsigned)value;
    return code;
}

#define UNSIGNED(function, which) int function(void *device, unsigned *out) { return narrow(device, #function, which, out); }
#define LONG(function, which) int function(void *device, u64 *out) { return number(device, #function, which, out); }
UNSIGNED(nvmlDeviceGetMinorNumber, N_minor)
UNSIGNED(nvmlDeviceGetPowerUsage, N_power)
UNSIGNED(nvmlDeviceGetPowerManagementLimit, N_limit)
UNSIGNED(nvmlDeviceGetPcieReplayCounter, N_replay)
LONG(nvmlDeviceGetTotalEnergyConsumption, N_energy)
LONG(nvmlDeviceGetCurrentClocksEventReasons, N_reasons)

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out) {
    (void)sensor;
    return narrow(device, "nvmlDeviceGetTemperature", N_temp, out);
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *out) {
    return narrow(device, "nvmlDeviceGetClockInfo", type == 1 ? N_sm_clock : N_mem_clock, out);
}

int nvmlDeviceGetTotalEccErrors(void *device, int uncorrected, int aggregate, u64 *out) {
    int which = aggregate ? (uncorrected ? N_dbe_agg : N_sbe_agg) : (uncorrected ? N_dbe_vol : N_sbe_vol);
    return number(device, "nvmlDeviceGetTotalEccErrors", which, out);
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *out) {
    int code = narrow(device, "nvmlDeviceGetUtilizationRates", N_util, out);
    return code != OK ? code : narrow(device, "nvmlDeviceGetUtilizationRates", N_mem_util, out + 1);
}

int nvmlDeviceGetEncoderUtilization(void *device, unsigned *out, unsigned *period) {
    *period = 0;
    return narrow(device, "nvmlDeviceGetEncoderUtilization", N_enc, out);
}

int nvmlDeviceGetDecoderUtilization(void *device, unsigned *out, unsigned *period) {
    *period = 0;
    return narrow(device, "nvmlDeviceGetDecoderUtilization", N_dec, out);
}

int nvmlDeviceGetRemappedRows(void *device, unsigned *corr, unsigned *unc, unsigned *pending, unsigned *failure) {
    const char *name = "nvmlDeviceGetRemappedRows";
    int code = narrow(device, name, N_remap_corr, corr);
    if (code == OK) code = narrow(device, name, N_remap_unc, unc);
    if (code == OK) code = narrow(device, name, N_remap_pending, pending);
    return code == OK ? narrow(device, name, N_remap_failure, failure) : code;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, void *info) {
    struct { unsigned version; u64 total, reserved, free, used; } *out = info;
    const u64 mib = 1 << 20;
    int code = enter(slot_of(device), "nvmlDeviceGetMemoryInfo_v2");
    const Gpu *gpu = device;
    if (code != OK) return leave(code);
    if (!is_part(device) && !gpu->known[N_total]) return leave(NOT_SUPPORTED);
    const u64 total = is_part(device) ? ((Part *)device)->total : gpu->value[N_total];
    const u64 used = is_part(device) ? ((Part *)device)->used : gpu->value[N_used];
    const u64 reserved = is_part(device) ? 0 : gpu->value[N_reserved];
    out->total = total * mib, out->used = used * mib, out->reserved = reserved * mib;
    out->free = (total - used - reserved) * mib;
    return leave(OK);
}

int nvmlDeviceGetFieldValues(void *device, int count, void *fields) {
    struct { unsigned field, scope; long long at, took; unsigned type, code; u64 value; } *out = fields;
    int code = enter(slot_of(device), "nvmlDeviceGetFieldValues");
    for (int i = 0; code == OK && i < count; i++) {
        const Gpu *gpu = device;
        int which = out[i].field == 82 ? N_mem_temp : out[i].field == 138 ? N_nvlink_tx : N_nvlink_rx;
        out[i].code = gpu->known[which] ? OK : NOT_SUPPORTED;
        out[i].value = gpu->value[which];
        out[i].type = out[i].field == 82 ? 1 : 3;
    }
    return leave(code);
}

static int processes(void *device, const char *function, int wanted, unsigned *count, void *list) {
    struct { unsigned pid; u64 used; unsigned instance, part; } *out = list;
    int code = enter(slot_of(device), function), slot = slot_of(device);
    unsigned found = 0;
    for (int i = 0; code == OK && wanted && i < world.processes; i++) {
        const Process *process = &world.process[i];
        if (process->slot != slot) continue;
        if (out != NULL && found < *count) {
            out[found].pid = process->pid, out[found].used = process->mib << 20;
            out[found].instance = (unsigned)process->instance, out[found].part = 0xFFFFFFFFu;
        }
        found++;
    }
    if (code == OK && found > *count) code = TOO_SMALL;
    if (code == OK || code == TOO_SMALL) *count = found;
    return leave(code);
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *list) {
    return processes(device, "nvmlDeviceGetComputeRunningProcesses_v3", 1, count, list);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *device, unsigned *count, void *list) {
    return processes(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", 0, count, list);
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *next) {
    int code = narrow(device, "nvmlDeviceGetMigMode", N_mig_mode, now);
    *next = *now;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) {
    *count = 7;
    return leave(enter(slot_of(device), "nvmlDeviceGetMaxMigDeviceCount"));
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **out) {
    int code = enter(slot_of(device), "nvmlDeviceGetMigDeviceHandleByIndex");
    unsigned found = 0;
    if (code != OK) return leave(code);
    for (int i = 0; i < world.parts; i++)
        if (world.part[i].slot == slot_of(device) && found++ == index) {
            *out = &world.part[i];
            return leave(OK);
        }
    return leave(NOT_FOUND);
}

int nvmlDeviceGetGpuInstanceId(void *device, unsigned *id) {
    int code = enter(slot_of(device), "nvmlDeviceGetGpuInstanceId");
    if (code == OK) *id = (unsigned)((Part *)device)->instance;
    return leave(code);
}

int nvmlEventSetCreate(void **out) {
    Set *set = calloc(1, sizeof(Set));
    char folder[256];
    const char *path = getenv("STOKER_NVML_STUB"), *end = path ? strrchr(path, '/') : NULL;
    snprintf(folder, sizeof folder, "%.*s", end ? (int)(end - path) : 1, end ? path : ".");
    set->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    inotify_add_watch(set->watch, folder, IN_MOVED_TO);
    *out = set;
    return leave(enter(ANY, "nvmlEventSetCreate"));
}

int nvmlEventSetFree(void *given) {
    close(((Set *)given)->watch);
    free(given);
    return OK;
}

int nvmlDeviceGetSupportedEventTypes(void *device, u64 *types) {
    *types = 0x1F;
    return leave(enter(slot_of(device), "nvmlDeviceGetSupportedEventTypes"));
}

int nvmlDeviceRegisterEvents(void *device, u64 types, void *given) {
    (void)types;
    Set *set = given;
    int code = enter(slot_of(device), "nvmlDeviceRegisterEvents");
    if (code == OK && set->slots < SLOTS) set->slot[set->slots++] = slot_of(device);
    for (int i = 0; i < world.events; i++)
        if (world.event[i].number > set->last) set->last = world.event[i].number;
    return leave(code);
}

static u64 now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

/* Until a file comes into the folder. */
static void wait_for_change(const Set *set, int timeout_ms) {
    struct pollfd watched = {.fd = set->watch, .events = POLLIN};
    char text[4096];
    if (poll(&watched, 1, timeout_ms) == 1)
        while (read(set->watch, text, sizeof text) > 0) continue;
}

/* The lowest number that this set has not had yet. */
static const Event *next_event(const Set *set) {
    const Event *found = NULL;
    for (int i = 0; i < world.events; i++)
        for (int k = 0; k < set->slots; k++)
            if (world.event[i].slot == set->slot[k] && world.event[i].number > set->last &&
                (found == NULL || world.event[i].number < found->number))
                found = &world.event[i];
    return found;
}

/* As the real one does it, this blocks: whoever measures an exporter does not want to measure how we look for events. */
int nvmlEventSetWait_v2(void *given, void *data, unsigned timeout_ms) {
    struct { void *device; u64 type, data; unsigned instance, part; } *out = data;
    Set *set = given;
    const u64 until = now_ms() + timeout_ms;
    for (;;) {
        int code = enter(set->slots ? set->slot[0] : ANY, "nvmlEventSetWait_v2");
        const Event *event = code == OK ? next_event(set) : NULL;
        if (event != NULL) {
            out->device = first + event->slot, out->type = 8, out->data = event->code;
            out->instance = out->part = 0xFFFFFFFFu;
            set->last = event->number;
        }
        leave(code);
        if (code != OK || event != NULL) return code;
        const u64 now = now_ms();
        if (now >= until) return TIMED_OUT;
        wait_for_change(set, (int)(until - now));
    }
}
