"""The fused convolution on NVIDIA GPUs: which kernel of csrc/ a call gets, its compilation, its cache, its launch.

gpus              what a plan asks of a device, for devices that are here and for architectures that are not
specialisations   from the sizes of a call to kernels, grids and shared memory: pure functions. The kernels of each
                  precision stand in half_kernels and single_kernels, what both have in common in plans
tables            what the kernels read beside signals and filters
rates, calibration   this machine's GPUs as planning knows them: measured once, and kept
autotune          the fastest of a few plans by the device's clock, remembered
compiler, cache   from a specialisation to a cubin, and the cubins of earlier runs
files             files that are whole or not there, for these caches
report            what the compiler made of a specialisation, read from the cubin
arguments         the kernels' arguments, field by field
launch            a loaded kernel on torch's device and stream
operands          a call's tensors as kernels take them, and what of them decides how it is carried out
spectra           the filters' spectra, of one call or prepared for many
forward_pass, backward_pass   a call on a launcher; what one geometry's calls have in common is worked out once
long_conv         the engine: the functions that the operator calls
long_cuts, long_plans, long_questions   rows that no block holds: how they can be cut, which way is the cheapest, and
                  what of a call decides it; long_tuning   the fastest by the clock
short_kernels, short_jobs, short_conv   the same of short convolutions: kernels, a call's tensors, the engine
norm_kernels, channel_norm   and of normalisation over channels
"""
