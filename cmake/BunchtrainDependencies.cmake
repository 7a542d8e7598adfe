# SPDX-License-Identifier: Apache-2.0
# Libraries that we use, each behind one target name that is the same on every machine.
#
#   target                    what                                   Debian package
#   LibTorch::cpu, ::cuda     LibTorch                               (tools/setup, FindLibTorch.cmake)
#   fmt::fmt                  text formatting, in sources only       libfmt-dev
#   CLI11::CLI11              command lines (config, app)            libcli11-dev
#   tomlplusplus::tomlplusplus  TOML (config)                        libtomlplusplus-dev
#   nlohmann_json::nlohmann_json  JSON                               nlohmann-json3-dev
#   hwy::hwy                  SIMD dispatch (ops)                    libhwy-dev
#   bunchtrain_dep::hdf5      HDF5, serial, C interface (data)       libhdf5-dev
#   bunchtrain_dep::deflate   libdeflate (data)                      libdeflate-dev
#   bunchtrain_dep::zstd      zstd (data); may be missing            libzstd-dev
#   bunchtrain_dep::lz4       LZ4 (data); may be missing             liblz4-dev
#   bunchtrain_dep::blosc     Blosc 1 (data); may be missing         libblosc-dev
#   bunchtrain_dep::uring     io_uring (data); may be missing        liburing-dev
#   bunchtrain_dep::xxhash    xxHash, header-only                    libxxhash-dev
#   bunchtrain_dep::mpi       MPI, C interface (mpi, comm)           libopenmpi-dev
#   bunchtrain_dep::nccl      NCCL (comm); CUDA builds only          (CUDA toolkit or tools/setup)
#   bunchtrain_dep::nvml      NVML header only: the library is opened at run time
#   bunchtrain_dep::openmp    at::parallel_for (comes with the compiler)
#   bunchtrain_dep::cudart    the shared CUDA runtime; CUDA builds only
#   GTest::gtest, GTest::gmock  tests                                libgtest-dev, libgmock-dev
#   Boost::context            fibers of the CUDA-on-host tests       libboost-context-dev
#   benchmark::benchmark      benchmarks                             libbenchmark-dev
#
# The installed package uses this file too: bunchtrain_find(<name>) finds one of them by the short
# name below, so that a consumer of one component needs no library of another.

# An imported target from a header and, unless header-only, a library.
function(bunchtrain_import name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER;PACKAGE" "LIBRARY;SUFFIXES;HINTS")
  if(TARGET bunchtrain_dep::${name})
    return()
  endif()
  string(TOUPPER ${name} upper)
  find_path(BUNCHTRAIN_${upper}_INCLUDE_DIR ${arg_HEADER} PATH_SUFFIXES ${arg_SUFFIXES} HINTS ${arg_HINTS})
  set(library "")
  if(arg_LIBRARY)
    find_library(BUNCHTRAIN_${upper}_LIBRARY NAMES ${arg_LIBRARY} PATH_SUFFIXES ${arg_SUFFIXES} HINTS ${arg_HINTS})
    set(library ${BUNCHTRAIN_${upper}_LIBRARY})
  endif()
  mark_as_advanced(BUNCHTRAIN_${upper}_INCLUDE_DIR BUNCHTRAIN_${upper}_LIBRARY)
  if(NOT BUNCHTRAIN_${upper}_INCLUDE_DIR OR (arg_LIBRARY AND NOT library))
    return()
  endif()
  add_library(bunchtrain_dep::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(bunchtrain_dep::${name} SYSTEM INTERFACE ${BUNCHTRAIN_${upper}_INCLUDE_DIR})
  target_link_libraries(bunchtrain_dep::${name} INTERFACE ${library})
endfunction()

# By the wrapper of a language that the project has: a consumer may know C++ only.
macro(bunchtrain_find_mpi)
  set(bunchtrain_mpi_language CXX)
  if(CMAKE_C_COMPILER_LOADED)
    set(bunchtrain_mpi_language C)
  endif()
  find_package(MPI QUIET COMPONENTS ${bunchtrain_mpi_language})
  if(MPI_${bunchtrain_mpi_language}_FOUND AND NOT TARGET bunchtrain_dep::mpi)
    add_library(bunchtrain_dep::mpi INTERFACE IMPORTED GLOBAL)
    target_link_libraries(bunchtrain_dep::mpi INTERFACE MPI::MPI_${bunchtrain_mpi_language})
    # The C++ bindings cost 35,000 lines per source and are gone in Open MPI 5.
    target_compile_definitions(bunchtrain_dep::mpi INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  endif()
endmacro()

# By the compiler's own flag: FindOpenMP names libgomp by its path, which then hides the copy beside LibTorch.
function(bunchtrain_make_openmp)
  if(NOT TARGET bunchtrain_dep::openmp)
    add_library(bunchtrain_dep::openmp INTERFACE IMPORTED GLOBAL)
    target_compile_options(bunchtrain_dep::openmp INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
    target_link_options(bunchtrain_dep::openmp INTERFACE -fopenmp)
  endif()
endfunction()

# CUDA toolkits (FindCUDAToolkit of CMake 3.25 stumbles over CUDA 13), and the folders of the NVIDIA wheels:
# where tools/setup unpacks them, and beside a LibTorch of a Python installation.
set(bunchtrain_toolkit ${CMAKE_CUDA_COMPILER_TOOLKIT_ROOT} $ENV{CUDA_HOME} /usr/local/cuda)
set(bunchtrain_nvidia "${BUNCHTRAIN_DEPS}/nvidia" "${LibTorch_DIRECTORY}/../nvidia"
  "${bunchtrain_built_with_libtorch}/../nvidia")
set(bunchtrain_packages
  "fmt=libfmt-dev" "cli11=libcli11-dev" "toml=libtomlplusplus-dev" "json=nlohmann-json3-dev" "hwy=libhwy-dev"
  "hdf5=libhdf5-dev" "deflate=libdeflate-dev" "xxhash=libxxhash-dev"
  "zstd=libzstd-dev" "lz4=liblz4-dev" "blosc=libblosc-dev" "uring=liburing-dev"
  "mpi=libopenmpi-dev" "gtest=libgtest-dev and libgmock-dev" "boost=libboost-context-dev"
  "benchmark=libbenchmark-dev" "nccl=in the CUDA toolkit" "cudart=in the CUDA toolkit")

# The archive with what it needs, if BUNCHTRAIN_STATIC_HDF5 asks for it, else the shared library.
macro(bunchtrain_find_hdf5)
  if(BUNCHTRAIN_STATIC_HDF5)
    find_package(Threads QUIET)
    bunchtrain_import(hdf5_static HEADER hdf5.h LIBRARY libhdf5_serial.a libhdf5.a SUFFIXES hdf5/serial)
    if(TARGET bunchtrain_dep::hdf5_static AND NOT TARGET bunchtrain_dep::hdf5)
      add_library(bunchtrain_dep::hdf5 INTERFACE IMPORTED GLOBAL)
      target_link_libraries(bunchtrain_dep::hdf5 INTERFACE
        bunchtrain_dep::hdf5_static sz z m Threads::Threads ${CMAKE_DL_LIBS})
    endif()
  else()
    bunchtrain_import(hdf5 HEADER hdf5.h LIBRARY hdf5_serial hdf5 SUFFIXES hdf5/serial)
  endif()
endmacro()

# Finds one dependency by its short name; the target it makes.
macro(bunchtrain_find_quietly name)
  if("${name}" STREQUAL "fmt")
    find_package(fmt QUIET)
    set(bunchtrain_target fmt::fmt)
  elseif("${name}" STREQUAL "cli11")
    find_package(CLI11 QUIET)
    set(bunchtrain_target CLI11::CLI11)
  elseif("${name}" STREQUAL "toml")
    find_package(tomlplusplus QUIET)
    set(bunchtrain_target tomlplusplus::tomlplusplus)
  elseif("${name}" STREQUAL "json")
    find_package(nlohmann_json QUIET)
    set(bunchtrain_target nlohmann_json::nlohmann_json)
  elseif("${name}" STREQUAL "hwy")
    find_package(hwy QUIET)
    set(bunchtrain_target hwy::hwy)
  elseif("${name}" STREQUAL "openmp")
    bunchtrain_make_openmp()
    set(bunchtrain_target bunchtrain_dep::openmp)
  elseif("${name}" STREQUAL "hdf5")
    bunchtrain_find_hdf5()
    set(bunchtrain_target bunchtrain_dep::hdf5)
  elseif("${name}" STREQUAL "deflate")
    bunchtrain_import(deflate HEADER libdeflate.h LIBRARY deflate)
    set(bunchtrain_target bunchtrain_dep::deflate)
  elseif("${name}" STREQUAL "zstd")
    bunchtrain_import(zstd HEADER zstd.h LIBRARY zstd)
    set(bunchtrain_target bunchtrain_dep::zstd)
  elseif("${name}" STREQUAL "lz4")
    bunchtrain_import(lz4 HEADER lz4.h LIBRARY lz4)
    set(bunchtrain_target bunchtrain_dep::lz4)
  elseif("${name}" STREQUAL "blosc")
    bunchtrain_import(blosc HEADER blosc.h LIBRARY blosc)
    set(bunchtrain_target bunchtrain_dep::blosc)
  elseif("${name}" STREQUAL "uring")
    bunchtrain_import(uring HEADER liburing.h LIBRARY uring)
    set(bunchtrain_target bunchtrain_dep::uring)
  elseif("${name}" STREQUAL "xxhash")
    bunchtrain_import(xxhash HEADER xxhash.h)
    set(bunchtrain_target bunchtrain_dep::xxhash)
  elseif("${name}" STREQUAL "nccl")
    bunchtrain_import(nccl HEADER nccl.h LIBRARY nccl libnccl.so.2 SUFFIXES include lib64 lib nccl/include nccl/lib
      HINTS ${bunchtrain_toolkit} ${bunchtrain_nvidia})
    set(bunchtrain_target bunchtrain_dep::nccl)
  elseif("${name}" STREQUAL "nvml")
    bunchtrain_import(nvml HEADER nvml.h SUFFIXES include cu13/include HINTS ${bunchtrain_toolkit} ${bunchtrain_nvidia})
    set(bunchtrain_target bunchtrain_dep::nvml)
  elseif("${name}" STREQUAL "cudart")
    bunchtrain_import(cudart HEADER cuda_runtime_api.h LIBRARY cudart libcudart.so.13
      SUFFIXES include lib64 lib cu13/include cu13/lib
      HINTS ${bunchtrain_toolkit} ${bunchtrain_nvidia})
    set(bunchtrain_target bunchtrain_dep::cudart)
  elseif("${name}" STREQUAL "libtorch")
    find_package(LibTorch 2.8 REQUIRED)
    set(bunchtrain_target LibTorch::cpu)
  elseif("${name}" STREQUAL "threads")
    find_package(Threads QUIET)
    set(bunchtrain_target Threads::Threads)
  elseif("${name}" STREQUAL "mpi")
    bunchtrain_find_mpi()
    set(bunchtrain_target bunchtrain_dep::mpi)
  elseif("${name}" STREQUAL "gtest")
    find_package(GTest QUIET)
    set(bunchtrain_target GTest::gmock)
  elseif("${name}" STREQUAL "boost")
    find_package(Boost QUIET COMPONENTS context)
    set(bunchtrain_target Boost::context)
  elseif("${name}" STREQUAL "benchmark")
    find_package(benchmark QUIET)
    set(bunchtrain_target benchmark::benchmark)
  else()
    message(FATAL_ERROR "bunchtrain knows no dependency \"${name}\"")
  endif()
endmacro()

# bunchtrain_find(NAME...): as above; what is missing becomes one error that names the packages.
macro(bunchtrain_find)
  set(bunchtrain_missing "")
  foreach(bunchtrain_name ${ARGN})
    bunchtrain_find_quietly(${bunchtrain_name})
    if(NOT TARGET ${bunchtrain_target})
      set(bunchtrain_package ${bunchtrain_packages})
      list(FILTER bunchtrain_package INCLUDE REGEX "^${bunchtrain_name}=")
      string(REGEX REPLACE "^.*=" "" bunchtrain_package "${bunchtrain_package}")
      string(APPEND bunchtrain_missing "\n  ${bunchtrain_name} (Debian: ${bunchtrain_package})")
    endif()
  endforeach()
  if(bunchtrain_missing)
    message(FATAL_ERROR "Not found:${bunchtrain_missing}\nRun tools/setup, or name the folders where they are in CMAKE_PREFIX_PATH.")
  endif()
endmacro()
