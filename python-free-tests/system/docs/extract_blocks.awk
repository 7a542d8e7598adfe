# SPDX-License-Identifier: Apache-2.0
# awk -v out=FOLDER -f extract_blocks.awk PAGE.md: every fenced block of a page as FOLDER/<number>.<kind>, and one line
# "<number> <line> <kind> <directive>" for each on standard output. A directive is the comment in front of a block:
#   <!-- test: skip REASON -->   the block cannot run here
#   <!-- test: file NAME -->     the block is the content of a file that later blocks use
function fail(text) {
  printf "%s:%d: %s\n", FILENAME, FNR, text > "/dev/stderr"
  failed = 1
  exit 1
}
/^[ \t]*```/ && !inside {
  kind = $0
  sub(/^[ \t]*```/, "", kind)
  if (kind == "") fail("a block without a kind: write ```sh, ```cpp, ```cmake, ```toml or ```text")
  if (kind !~ /^(sh|cpp|cmake|toml|text)$/) fail("a block of the unknown kind \"" kind "\": nothing tests it")
  if (kind == "text" && directive != "") fail("a block of kind text is not tested and takes no directive")
  inside = 1
  number++
  file = sprintf("%s/%02d.%s", out, number, kind)
  printf "" > file
  printf "%02d %d %s %s\n", number, FNR, kind, directive
  directive = ""
  next
}
/^[ \t]*```/ {
  inside = 0
  close(file)
  next
}
inside {
  if (kind == "text" && /^(bunchtrain|mpirun|train_|cmake|tools\/|git|srun|export) ?/) {
    fail("a command in a block of kind text, which nothing tests: write ```sh")
  }
  print > file
  next
}
/^<!-- test: / {
  directive = $0
  if (directive !~ /^<!-- test: (skip .+|file [^ ]+) -->$/) fail("a directive that is not known: " directive)
  sub(/^<!-- test: /, "", directive)
  sub(/ -->$/, "", directive)
  next
}
/[^ \t]/ && directive != "" { fail("the directive in front of this line belongs to no block") }
END {
  if (!failed && inside) fail("the last block does not end")
}
