/* All of it, for one call of the compiler. */
#include "abi.h"
#include "conv.c"
#include "maps.c"
#include "dense.c"
#include "whole.c"
#include "engine.c"
