/* What a kernel of the engine is. engine.c runs programs; maps.c, dense.c and whole.c hold the kernels.
 *
 * A program is an array of instructions. An instruction names a kernel and says where its operands lie, sizes, and
 * numbers. Instructions stand in stretches: those of a *tiled* stretch run one after another for a tile of 64 images,
 * then for the next tile, so that what they hand to each other stays in the nearest caches; those of a *whole* stretch
 * run once, each on a part of the elements at a time. Threads share the tiles or parts of a stretch, and meet at its end.
 *
 * A value of a tile is laid out by blocks of LANES images: [block][element], a vector an element, and the elements of
 * maps in the order [h][c][w]. Blocks that hold no image are left alone. Lanes without an image hold zeros in every
 * value, whatever the weights are: the engine puts them there after each kernel (`cleared` of the operand), so sums over
 * lanes need no mask.
 *
 * What is added up over tiles (gradients of parameters, losses) lies in the *record* of a tile, which each kernel writes
 * and never adds to. The engine adds the records by a fixed pairwise tree.
 *
 * To add a kernel: write `static void name(const instruction *i, char **at, place here)` with its formula above it and the
 * meaning of `at`, `size` and `number`; add it to KERNELS below; give it to its op in tinyconv/program/compiled.py; and
 * hold it to the readable pair in tests/program/test_program_compiled.py. Sizes of scratch memory are given in vectors.
 */
#pragma once
#include "maps.h"

enum { TILE = 64, BLOCKS = TILE / LANES, OPERANDS = 10, SIZES = 16, NUMBERS = 8 };

/* Where an operand lies: `offset` bytes into the program's scratch memory of the thread, into the record of the tile, or
 * at the address itself; `tile` bytes further for each tile. Null: not wanted. */
enum { ADDRESS, SCRATCH, RECORD };
typedef struct { int64_t base, offset, tile, cleared; } operand;
typedef struct {
    int64_t kernel;
    operand at[OPERANDS];
    int64_t size[SIZES];
    double number[NUMBERS];
} instruction;

/* Which tile, and how many images and blocks it has; or which part of PARTS. */
enum { PARTS = 16 };
typedef struct { int64_t tile, images, blocks, part; } place;

/* The elements of this part: the same ones on any number of threads. */
INLINE int64_t part_begins(int64_t size, int64_t part) { return size * part / PARTS / 64 * 64; }
INLINE int64_t part_ends(int64_t size, int64_t part) { return part == PARTS - 1 ? size : part_begins(size, part + 1); }

typedef void kernel(const instruction *i, char **at, place here);

#define KERNELS(X) \
    X(take_images) X(give_images) X(conv) X(conv_back) X(conv_pool) X(conv_pool_back) X(relu) X(relu_back) X(max_pool) \
    X(max_pool_back) X(flatten) X(flatten_back) X(linear) X(linear_back) X(cross_entropy) X(cross_entropy_back) \
    X(add) X(leaky_relu) X(leaky_relu_back) X(tanh_) X(tanh_back) X(sigmoid) X(sigmoid_back) X(silu) \
    X(silu_back) X(gelu) X(gelu_back) X(gelu_tanh) X(gelu_tanh_back) \
    X(dropout) X(avg_pool) X(avg_pool_back) X(cell_max) X(cell_max_back) \
    X(norm_moments) X(norm_statistics) X(norm_running) X(norm) X(norm_sums) X(norm_back) X(channel_sums) \
    X(winograd_filters) X(winograd) X(winograd_dw) \
    X(few_conv) X(few_linear) X(pack_filters) X(loss_scale) X(add_records) X(copy) X(sgd) X(adam)
