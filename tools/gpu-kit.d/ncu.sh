# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: Nsight Compute on one call of each row, our kernels only. A CSV per row; reports up to 16 MB are kept.

# profile NAME GPU_BENCH-OPTION...
profile() {
  local name=$1 report=$out/ncu-$1.ncu-rep
  shift
  step "ncu.$name" 150 ncu --clock-control none --set detailed --kernel-name-base demangled --kernel-name regex:bunchtrain \
    --launch-count 60 --force-overwrite --export "$report" "$here/bin/gpu_bench" --once "$@"
  [ -f "$report" ] || return 0
  ncu --import "$report" --csv --page details >"$out/ncu-$name.csv" 2>>"$out/log" || true
  [ "$(stat -c %s "$report")" -le 16000000 ] || rm "$report"
}

if command -v ncu >/dev/null; then
  profile P2 --rows P2
  profile P3 --rows P3
  profile P1 --rows P1 --precision bfloat16
  profile P1.evaluated --rows P1 --case evaluated --precision bfloat16
  profile P5 --rows P5 --precision bfloat16
  profile P4 --rows P4
  profile P6 --rows P6
  profile P7 --rows P7
  profile P8 --rows P8
  profile P9 --rows P9 --precision bfloat16
else
  skip ncu "ncu is not in the PATH"
fi
