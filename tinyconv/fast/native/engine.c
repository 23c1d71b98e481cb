/* Runs a program: kernel.h says what one is.
 *
 * A tiled stretch is cut into units of `per_unit` tiles, a power of two. A thread takes a unit and goes through its tiles
 * one by one; the records of a unit's tiles are added as soon as two neighbours are there, as the digits of a binary
 * counter are, so a thread holds log2(per_unit) records besides that of the unit. What the units give is added by
 * `add_records` in the whole stretch that follows. Both are parts of one tree, which depends on the batch alone.
 */

#define NAME(name) name,
static kernel *const kernels[] = {KERNELS(NAME)};

/* `count` instructions. records: of the units, `record` bytes each. */
typedef struct { int64_t tiled, first, count, record; char *records; } stretch;
typedef struct {
    const instruction *code;
    const stretch *stretches;
    int64_t count, images, per_unit, threads;
    const int64_t *bad; /* the program stops after a stretch that has counted something here */
    char *scratch;
    int64_t values, scratch_size; /* bytes of a thread: for values, and in all (records of tiles follow the values) */
    int64_t first_unit, last_unit; /* the units of this rank; others work out the rest */
    void (*meet)(int64_t stretch); /* after a tiled stretch: get what other ranks have made in it. Null for one rank */
} program;
typedef struct { const program *p; const stretch *s; } running;

static int64_t ones(int64_t n) {
    int64_t count = 0;
    for (; n; n &= n - 1) count++;
    return count;
}

/* The instructions of a stretch, for one tile or part. Lanes without an image are emptied where `cleared` vectors a block
 * say so. */
static void run_instructions(const program *p, const stretch *s, place here, char *scratch, char *record) {
    int64_t missing = here.images % LANES;
    for (int64_t n = s->first; n < s->first + s->count; n++) {
        const instruction *i = p->code + n;
        char *at[OPERANDS];
        for (int k = 0; k < OPERANDS; k++) {
            const operand *o = i->at + k;
            char *base = o->base == SCRATCH ? scratch : o->base == RECORD ? record : (char *)0;
            at[k] = (char *)((intptr_t)base + o->offset + here.tile * o->tile);
        }
        kernels[i->kernel](i, at, here);
        if (!s->tiled || !missing) continue;
        choice there = lanes_there(missing);
        for (int k = 0; k < OPERANDS; k++) {
            int64_t size = i->at[k].cleared;
            lanes *v = (lanes *)at[k] + (here.blocks - 1) * size;
            for (int64_t e = 0; e < size; e++) v[e] = zero_where(~there, v[e]);
        }
    }
}

static void run_unit(const void *task, int64_t unit, void *scratch) {
    const running *r = task;
    const program *p = r->p;
    unit += p->first_unit;
    int64_t record = r->s->record, first = unit * p->per_unit;
    char *others = (char *)scratch + p->values;
    int64_t tiles = smaller(p->per_unit, (p->images + TILE - 1) / TILE - first), depth = 0;
#define RECORD_AT(depth) ((depth) ? others + ((depth) - 1) * record : r->s->records + unit * record)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t images = smaller(TILE, p->images - (first + t) * TILE);
        place here = {first + t, images, (images + LANES - 1) / LANES, 0};
        run_instructions(p, r->s, here, scratch, RECORD_AT(depth));
        depth++;
        for (int64_t wanted = t + 1 == tiles ? 1 : ones(t + 1); depth > wanted; depth--) {
            float *a = (float *)RECORD_AT(depth - 2), *b = (float *)RECORD_AT(depth - 1);
            for (int64_t k = 0; k < record / (int64_t)sizeof *a; k++) a[k] += b[k];
        }
    }
}

static void run_part(const void *task, int64_t part, void *scratch) {
    const running *r = task;
    run_instructions(r->p, r->s, (place){.part = part}, scratch, 0);
}

EXPORT void run_program(const program *p) {
    for (int64_t n = 0; n < p->count && !*p->bad; n++) {
        running r = {p, p->stretches + n};
        if (r.s->tiled) share(&r, run_unit, p->last_unit - p->first_unit, p->threads, p->scratch, p->scratch_size);
        else share(&r, run_part, PARTS, p->threads, p->scratch, p->scratch_size);
        if (r.s->tiled && p->meet) p->meet(n);
    }
}

/* The names of the kernels, in the order of their numbers, each followed by a space. */
#define WORD(name) #name " "
EXPORT const char *kernel_names(void) { return KERNELS(WORD); }
EXPORT int64_t lanes_of_a_vector(void) { return LANES; }
