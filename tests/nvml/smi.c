/* What exporters that start a process for each scrape start, as far as that goes without a GPU: the same questions to the
 * same library, and a line of CSV for each GPU, as `nvidia-smi --query-gpu=... --format=csv,noheader,nounits` prints it. */
#include <stdio.h>

typedef unsigned long long u64;
int nvmlInitWithFlags(unsigned);
int nvmlDeviceGetCount_v2(unsigned *);
int nvmlDeviceGetHandleByIndex_v2(unsigned, void **);
int nvmlDeviceGetUUID(void *, char *, unsigned);
int nvmlDeviceGetName(void *, char *, unsigned);
int nvmlDeviceGetUtilizationRates(void *, unsigned *);
int nvmlDeviceGetMemoryInfo_v2(void *, void *);
int nvmlDeviceGetTemperature(void *, int, unsigned *);
int nvmlDeviceGetPowerUsage(void *, unsigned *);
int nvmlDeviceGetPowerManagementLimit(void *, unsigned *);
int nvmlDeviceGetClockInfo(void *, int, unsigned *);
int nvmlDeviceGetPcieReplayCounter(void *, unsigned *);
int nvmlDeviceGetCurrentClocksEventReasons(void *, u64 *);
int nvmlDeviceGetTotalEccErrors(void *, int, int, u64 *);
int nvmlDeviceGetEncoderUtilization(void *, unsigned *, unsigned *);
int nvmlDeviceGetDecoderUtilization(void *, unsigned *, unsigned *);
int nvmlShutdown(void);

int main(void) {
    unsigned count = 0;
    if (nvmlInitWithFlags(0) != 0 || nvmlDeviceGetCount_v2(&count) != 0) return 1;
    for (unsigned i = 0; i < count; i++) {
        void *gpu;
        char uuid[96] = "", name[96] = "";
        unsigned used[2] = {0}, hot = 0, power = 0, limit = 0, sm = 0, memory_clock = 0, replay = 0, enc = 0, dec = 0, t;
        u64 reasons = 0, ecc[4] = {0};
        struct { unsigned version; u64 total, reserved, free, used; } memory = {0x02000028, 0, 0, 0, 0};
        if (nvmlDeviceGetHandleByIndex_v2(i, &gpu) != 0) return 1;
        nvmlDeviceGetUUID(gpu, uuid, sizeof uuid);
        nvmlDeviceGetName(gpu, name, sizeof name);
        nvmlDeviceGetUtilizationRates(gpu, used);
        nvmlDeviceGetMemoryInfo_v2(gpu, &memory);
        nvmlDeviceGetTemperature(gpu, 0, &hot);
        nvmlDeviceGetPowerUsage(gpu, &power);
        nvmlDeviceGetPowerManagementLimit(gpu, &limit);
        nvmlDeviceGetClockInfo(gpu, 1, &sm);
        nvmlDeviceGetClockInfo(gpu, 2, &memory_clock);
        nvmlDeviceGetPcieReplayCounter(gpu, &replay);
        nvmlDeviceGetCurrentClocksEventReasons(gpu, &reasons);
        for (int k = 0; k < 4; k++) nvmlDeviceGetTotalEccErrors(gpu, k & 1, k >> 1, &ecc[k]);
        nvmlDeviceGetEncoderUtilization(gpu, &enc, &t);
        nvmlDeviceGetDecoderUtilization(gpu, &dec, &t);
        printf("%u, %s, %s, %u, %u, %llu, %llu, %llu, %llu, %u, %.2f, %.2f, %u, %u, %u, 0x%016llx, %llu, %llu, %llu, %llu, "
               "%u, %u\n", i, uuid, name, used[0], used[1], memory.total >> 20, memory.used >> 20, memory.free >> 20,
               memory.reserved >> 20, hot, power / 1000.0, limit / 1000.0, sm, memory_clock, replay, reasons, ecc[0],
               ecc[1], ecc[2], ecc[3], enc, dec);
    }
    return nvmlShutdown();
}
