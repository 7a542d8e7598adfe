# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of tools/gpu-kit: builds what the kit carries, in the release build's folder.
[ $# -eq 0 ] || fail 2 "gpu-kit build takes no arguments"
configure_release auto -DBUNCHTRAIN_TESTS=ON -DBUNCHTRAIN_STATIC_HDF5=ON -DBUNCHTRAIN_LINEINFO=ON
cmake --build "$build" --parallel "$(parallel_jobs)" --target gpu_kit
