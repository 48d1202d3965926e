// All half-precision kernels.
#pragma once
#include "half_backward.cuh"
#include "half_filter.cuh"
#include "half_forward.cuh"
#include "half_tables.cuh"
