# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of gpu-kit: every row of gpu_bench and its peers in turns, twice; compiled peers, which take long to get ready, once.

seconds=1.5
size=()
if [ "$device" = cpu ]; then
  seconds=0
  size=(--small)
fi
export PYTHONPATH=$here/peers PYTHONDONTWRITEBYTECODE=1
for wheel in "$here"/peers/*.whl; do PYTHONPATH+=:$wheel; done
common=(--device "$device" --seconds "$seconds" "${size[@]}")

# bench STEP SECONDS COMMAND...: what it prints are rows
bench() {
  local name=$1 limit=$2
  shift 2
  # shellcheck disable=SC2016  # expanded by the inner shell
  step "$name" "$limit" bash -c 'exec "$@" >>"$0"' "$out/bench.jsonl" "$@"
}

# Python finds its libraries as it does for everybody.
peer() { # STEP SECONDS ARGUMENT...
  local name=$1 limit=$2
  shift 2
  bench "$name" "$limit" env LD_LIBRARY_PATH="$callers_library_path" python3 -W ignore "$here/peers/gpu_peers.py" "${common[@]}" "$@"
}

has_python=1
LD_LIBRARY_PATH=$callers_library_path python3 -c 'import torch' 2>/dev/null || has_python=0

# Numbers of particles of jets: 64 quantiles of the 18,000 of toptagging_train.h5 (half top, half QCD, 128 at most), mixed.
top_tagging=110,60,71,60,99,65,69,62,77,29,35,50,94,51,76,72,49,66,80,41,81,67,56,18,59,63,37,58,105,92,53,55
top_tagging+=,96,31,57,64,23,45,83,78,87,73,84,88,61,116,68,26,75,46,43,70,33,39,66,74,79,54,90,48,102,71,85,128

wanted() { [[ ,$rows, == *,$1,* ]]; }

# in_turns ROUND
in_turns() {
  local row
  for row in ${rows//,/ }; do
    bench "bunchtrain.$row.$1" 60 mpirun -n 1 --bind-to none "$here/bin/gpu_bench" "${common[@]}" --rows "$row"
    [ "$has_python" = 0 ] || peer "eager.$row.$1" 90 --rows "$row"
  done
  ! wanted P1 || padded "$1"
  ! wanted P4 || on_all_cards "$1"
}

# padded ROUND: jets as they are, half of them padding
padded() {
  local real=(--rows P1 --case "$([ "$device" = cpu ] || echo 1024) jets" --real "$top_tagging")
  bench "bunchtrain.P1.real.$1" 60 mpirun -n 1 --bind-to none "$here/bin/gpu_bench" "${common[@]}" "${real[@]}"
  [ "$has_python" = 0 ] || peer "eager.P1.real.$1" 90 "${real[@]}"
}

# on_all_cards ROUND: P4 between the cards of this machine
on_all_cards() {
  [ "$cards" -ge 2 ] && [ "$device" = cuda ] || return 0
  bench "bunchtrain.P4.np$cards.$1" 60 mpirun -n "$cards" --bind-to none "$here/bin/gpu_bench" "${common[@]}" --rows P4
  [ "$has_python" = 0 ] || bench "eager.P4.np$cards.$1" 90 mpirun -n "$cards" --bind-to none env LD_LIBRARY_PATH="$callers_library_path" \
    python3 -W ignore "$here/peers/gpu_peers.py" "${common[@]}" --rows P4 --store "$scratch/store.$1"
}

compiled() { # ROW SECONDS OPTION...
  local row=$1 limit=$2
  shift 2
  ! wanted "$row" || [ "$has_python" = 0 ] || peer "compiled.$row" "$limit" --rows "$row" --compile "$@"
}

[ "$has_python" = 1 ] || skip peers "python3 cannot import torch"
in_turns 1
compiled P1 150 --precision bfloat16
in_turns 2
compiled P5 150
compiled P6 60
compiled P7 60
compiled P9 90
compiled P10 150
compiled P12 60 --precision bfloat16
compiled P1 150 --precision tf32,float32
[ "$has_python" = 0 ] || [ "$device" = cpu ] || peer ceilings 30 --rows ceilings
