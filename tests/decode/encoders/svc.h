// What the two encoders of spatial layers have in common: pictures come in raw from standard input, frames go out
// as IVF to standard output, and in between they lean on each other in the pattern of browsers' L3T3 and L3T3_KEY.

#ifndef SVC_H
#define SVC_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPATIAL = 3, TEMPORAL = 3, PERIOD = 4, PICTURES_A_SECOND = 30, NOTHING = -1 };

struct task {
    unsigned width, height;
    // Pictures from one key picture to the next.
    unsigned group;
    // Spatial layers lean on each other in every picture, not in key pictures only.
    bool full;
    // Of the layers, smallest first, in kbit/s, each without those below.
    unsigned kbps[SPATIAL];
};

// The places among a decoder's eight that a frame reads from and is kept in.
struct frame {
    unsigned temporal;
    int earlier, below, kept;
};

static inline void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline struct task task(int count, char **arguments) {
    if (count != 8) die("usage: WIDTH HEIGHT GROUP key|full KBPS KBPS KBPS");
    struct task own = {
        .width = atoi(arguments[1]),
        .height = atoi(arguments[2]),
        .group = atoi(arguments[3]),
        .full = strcmp(arguments[4], "full") == 0,
    };
    for (int layer = 0; layer < SPATIAL; layer++) own.kbps[layer] = atoi(arguments[5 + layer]);
    return own;
}

// Each layer has a place for its newest picture of the lowest temporal layer and one for the middle one's. The highest
// is kept only for the spatial layer above, which takes the two places that are left.
static inline int place(unsigned temporal, int spatial) { return (int)temporal * SPATIAL + spatial; }

static inline struct frame frame(const struct task *task, unsigned number, int spatial) {
    unsigned index = number % task->group;
    unsigned temporal = (unsigned[PERIOD]){0, 2, 1, 2}[index % PERIOD];
    bool above = spatial > 0 && (index == 0 || task->full);
    bool kept = temporal < 2 || (task->full && spatial < SPATIAL - 1);
    return (struct frame){
        .temporal = temporal,
        // The last picture of a period leans on the middle layer's, all others on the lowest one's.
        .earlier = index == 0 ? NOTHING : place(index % PERIOD == 3 ? 1 : 0, spatial),
        .below = above ? place(temporal, spatial - 1) : NOTHING,
        .kept = kept ? place(temporal, spatial) : NOTHING,
    };
}

static inline void put(uint64_t value, int bytes) {
    for (int byte = 0; byte < bytes; byte++) putchar((int)(value >> (8 * byte) & 0xff));
}

static inline void write_header(const char *codec, const struct task *task) {
    fwrite("DKIF\0\0\x20\0", 1, 8, stdout);
    fwrite(codec, 1, 4, stdout);
    put(task->width, 2);
    put(task->height, 2);
    put(PICTURES_A_SECOND, 4);
    put(1, 4);
    put(0, 8);
}

static inline void write_frame(const void *data, size_t len, unsigned number) {
    put(len, 4);
    put(number, 8);
    if (fwrite(data, 1, len, stdout) != len) die("the output is closed");
}

#endif
