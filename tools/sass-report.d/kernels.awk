# SPDX-License-Identifier: Apache-2.0
# Part of sass-report: what cuobjdump -res-usage and -sass print of one object, as a row of a table per kernel.

function width(instruction) {
  if (instruction ~ /\.128/) return 128
  if (instruction ~ /\.64/) return 64
  if (instruction ~ /\.[US]8/) return 8
  if (instruction ~ /\.[US]16/) return 16
  return 32
}

# "128 x 4, 32 x 1", the widest first.
function widths(kernel, kind,    text, i) {
  for (i = 1; i <= num_sizes; i++)
    if (moved[kernel, kind, sizes[i]]) text = text (text == "" ? "" : ", ") sizes[i] " x " moved[kernel, kind, sizes[i]]
  return text == "" ? "-" : text
}

BEGIN { num_sizes = split("128 64 32 16 8", sizes, " ") }

/^ Function / {
  kernel = substr($2, 1, length($2) - 1)
  next
}
/^  REG:/ {
  for (i = 1; i <= NF; i++) {
    split($i, pair, ":")
    usage[kernel, pair[1]] = pair[2]
  }
  next
}
/Function : / {
  kernel = $3
  kernels[++num_kernels] = kernel
  next
}
/^ +\/\*[0-9a-f]+\*\/ +/ {
  sub(/^ +\/\*[0-9a-f]+\*\/ +/, "")
  sub(/^\{ */, "")
  sub(/^@!?U?P[0-9T]+ +/, "")
  instruction = $1
  if (instruction ~ /^NOP/) next
  count[kernel]++
  opcode = instruction
  sub(/\..*/, "", opcode)
  number[kernel, opcode]++
  if (opcode ~ /^(LDG|STG|LDS|STS|LD|ST)$/) moved[kernel, opcode, width(instruction)]++
}

END {
  for (k = 1; k <= num_kernels; k++) {
    kernel = kernels[k]
    printf "| %s | %d | %d | %d | %d | %s | %s | %s | %s | %d | %d | %d | %d |\n", kernel, usage[kernel, "REG"], usage[kernel, "STACK"], \
      number[kernel, "LDL"] + number[kernel, "STL"], usage[kernel, "SHARED"], widths(kernel, "LDG"), widths(kernel, "STG"), \
      widths(kernel, "LDS"), widths(kernel, "STS"), number[kernel, "HMMA"], number[kernel, "LDSM"], number[kernel, "LDGSTS"], count[kernel]
  }
}
