# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Part of tools/gpu-kit: collects programs, libraries, Open MPI, peers and kernels into one archive.

limit_mib=40
archive=$root/build/gpu-kit.tar.xz
level=6
wheels=1
while [ $# -gt 0 ]; do
  case $1 in
    --fast) level=1 ;;
    --without-wheels) wheels=0 ;;
    --to)
      archive=${2:?--to needs a file}
      shift
      ;;
    *) fail 2 "unknown option $1 (gpu-kit --help)" ;;
  esac
  shift
done

lists=$build/gpu_kit
[ -f "$lists/build.txt" ] || fail 2 "nothing is built in $build: run tools/gpu-kit build"
about() { sed -n "s/^$1 //p" "$lists/build.txt"; }

# What every machine with a driver, PyTorch and a C++ program has. LibTorch's folder and CUDA's are told by their places.
is_there_anyway() { # NAME PATH
  case $1 in
    libcurl*) return 1 ;;
    ld-linux* | linux-vdso* | libc.so.* | libm.so.* | libdl.so.* | librt.so.* | libpthread.so.* | libutil.so.* | \
      libresolv.so.* | libstdc++.so.* | libgcc_s.so.* | libgomp* | libcu* | libnccl* | libnv*) return 0 ;;
  esac
  case $2 in "$torch"/* | "$torch"/../nvidia/* | "$(readlink -f "$torch/..")"/* | */cuda/* | */cuda-[0-9]*/*) return 0 ;; esac
  return 1
}

# Prints "name path" of all libraries that the files need and the other machine may lack.
needed_libraries() {
  local name path
  LD_LIBRARY_PATH='' ldd "$@" 2>/dev/null | awk '$2 == "=>" { print $1, $3 }' | sort -u | while read -r name path; do
    if is_there_anyway "$name" "$path"; then continue; fi
    if [ -e "$path" ]; then echo "$name $path"; else echo "missing $name" >&2; fi
  done
}

copy_programs() {
  local program
  mkdir "$kit/bin"
  while read -r program; do
    [ -x "$program" ] || fail 2 "$program is not built: run tools/gpu-kit build"
    strip -o "$kit/bin/$(basename "$program")" "$program"
  done <"$lists/programs.txt"
}

# Plug-ins for network hardware are left behind, with the libraries that they would bring.
copy_open_mpi() {
  local paths prefix plugins plugin hardware='lib(ibverbs|fabric|uc[psmt]|mca_common_ucx|psm2|psm_infinipath|oshmem)\.so'
  paths=$(ompi_info --parsable --path all 2>/dev/null) || fail 2 "ompi_info does not run; the kit carries Open MPI only"
  prefix=$(sed -n 's/^path:prefix://p' <<<"$paths")
  plugins=$(sed -n 's/^path:pkglibdir://p' <<<"$paths" | head -1)
  mkdir -p "$kit/mpi/bin" "$kit/mpi/${plugins#"$prefix"/}" "$kit/mpi/share"
  cp -L "$(about mpirun)" "$kit/mpi/bin/mpirun"
  for plugin in "$plugins"/*.so; do
    [[ $(ldd "$plugin") =~ $hardware ]] || cp "$plugin" "$kit/mpi/${plugins#"$prefix"/}"
  done
  cp -r "$(sed -n 's/^path:pkgdatadir://p' <<<"$paths")" "$kit/mpi/share/openmpi"
}

copy_libraries() {
  local name path files
  mkdir "$kit/lib"
  mapfile -t files < <(cat "$lists/programs.txt" && find "$kit/mpi" -name '*.so' -o -name mpirun)
  while read -r name path; do
    cp -L "$path" "$kit/lib/$name"
  done < <(needed_libraries "${files[@]}")
  strip --strip-unneeded "$kit"/lib/*.so* 2>/dev/null || true
}

# Wheels of the peers, pure Python, pinned; they are read as they are. Without a network the kit does without.
fetch_peer_wheels() {
  local package version hash file
  while read -r package version hash; do
    [[ $package == '#'* || -z $package ]] && continue
    file=$root/.cache/peers/${package//-/_}-$version-py3-none-any.whl
    mkdir -p "$(dirname "$file")"
    [ -f "$file" ] || python3 -m pip --disable-pip-version-check --no-input --quiet download --no-deps \
      --only-binary=:all: --retries 2 --timeout 20 --dest "$(dirname "$file")" "$package==$version" </dev/null || {
      echo "Not fetched: $package $version; its rows will be missing."
      continue
    }
    echo "$hash  $file" | sha256sum --check --quiet || fail 1 "$file is not what benchmarks/peers/gpu/wheels.lock pins"
    cp "$file" "$kit/peers"
  done <"$root/benchmarks/peers/gpu/wheels.lock"
}

copy_peers() {
  mkdir "$kit/peers"
  cp "$root"/benchmarks/peers/gpu/*.py "$root/benchmarks/peers/3dgan/shower_gan.py" "$root/benchmarks/peers/calo_diffusion/torch_unet.py" \
    "$kit/peers"
  [ "$wheels" = 0 ] || fetch_peer_wheels
}

# Kernels, the headers that they include and what else the lab compiles, in the places of the source tree.
copy_kernels() {
  mkdir "$kit/src"
  (cd "$root" && {
    sed -n 's#^// sources: ##p' benchmarks/gpu/lab/*.cu | tr ' ' '\n'
    echo include/bunchtrain/ops/extent3.hpp
    find src -name '*.cu' -o -path '*/cuda/*.hpp' -o -name '*.cuh'
    find src/ops src/optim include/bunchtrain/core include/bunchtrain/device benchmarks/gpu/lab -name '*.hpp' -o -name '*.cuh' -o -name '*.cu'
  } | sort -u | xargs cp --parents -t "$kit/src")
}

write_manifest() {
  local commit
  commit=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
  git -C "$root" diff --quiet HEAD 2>/dev/null || commit+=-changed
  {
    echo "commit $commit"
    grep -v -e '^libtorch_folder' -e '^mpirun' "$lists/build.txt"
    (cd "$kit" && find . -type f ! -name MANIFEST -print0 | sort -z | xargs -0 sha256sum | sed 's/^/sha256 /')
  } >"$kit/MANIFEST"
}

torch=$(about libtorch_folder)
work=$(mktemp -d "$build/gpu_kit/pack.XXXXXX")
trap 'rm -rf "$work"' EXIT
kit=$work/gpu-kit
mkdir -p "$kit"
cp -r "$root/tools/gpu-kit" "$root/tools/gpu-kit.d" "$root/tools/common.sh" "$kit"
rm "$kit/gpu-kit.d/build.sh" "$kit/gpu-kit.d/pack.sh"
cp "$lists/tests.txt" "$kit"
copy_programs
copy_open_mpi
copy_libraries
copy_peers
copy_kernels
write_manifest
# The programs hold the same library many times over, megabytes apart.
tar -C "$work" -cf - gpu-kit | xz --lzma2="preset=$level,dict=128MiB" >"$work/archive"
mv "$work/archive" "$archive"
size=$(du --apparent-size -k "$archive" | cut -f1)
printf '%s: %d.%d MiB, commit %s\n' "$archive" $((size / 1024)) $((size % 1024 * 10 / 1024)) "$(sed -n 's/^commit //p' "$kit/MANIFEST")"
[ "$size" -le $((limit_mib * 1024)) ] || fail 1 "the archive is larger than $limit_mib MiB"
