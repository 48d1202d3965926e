// All half-precision kernels of complex rows.
#pragma once
#include "half_planes_backward.cuh"
#include "half_planes_forward.cuh"
