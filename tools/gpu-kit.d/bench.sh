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

# in_turns ROUND
in_turns() {
  local row
  for row in P1 P2 P3 P4 P5 P6 P7 P8 P9 P10; do
    bench "bunchtrain.$row.$1" 60 mpirun -n 1 --bind-to none "$here/bin/gpu_bench" "${common[@]}" --rows "$row"
    [ "$has_python" = 0 ] || peer "eager.$row.$1" 90 --rows "$row"
  done
  padded "$1"
  on_all_cards "$1"
}

# padded ROUND: jets as they are, half of them padding
padded() {
  bench "bunchtrain.P1.real50.$1" 60 mpirun -n 1 --bind-to none "$here/bin/gpu_bench" "${common[@]}" --rows P1 --real 50
  [ "$has_python" = 0 ] || peer "eager.P1.real50.$1" 90 --rows P1 --real 50
}

# on_all_cards ROUND: P4 between the cards of this machine
on_all_cards() {
  [ "$cards" -ge 2 ] && [ "$device" = cuda ] || return 0
  bench "bunchtrain.P4.np$cards.$1" 60 mpirun -n "$cards" --bind-to none "$here/bin/gpu_bench" "${common[@]}" --rows P4
  [ "$has_python" = 0 ] || bench "eager.P4.np$cards.$1" 90 mpirun -n "$cards" --bind-to none env LD_LIBRARY_PATH="$callers_library_path" \
    python3 -W ignore "$here/peers/gpu_peers.py" "${common[@]}" --rows P4 --store "$scratch/store.$1"
}

compiled() { # ROW SECONDS
  [ "$has_python" = 0 ] || peer "compiled.$1" "$2" --rows "$1" --compile
}

[ "$has_python" = 1 ] || skip peers "python3 cannot import torch"
in_turns 1
compiled P1 150
in_turns 2
compiled P5 150
compiled P6 60
compiled P7 60
compiled P9 90
compiled P10 150
[ "$has_python" = 0 ] || [ "$device" = cpu ] || peer ceilings 30 --rows ceilings
