# SPDX-License-Identifier: Apache-2.0
# What a user may choose, and the flags that every target of ours gets.

set(BUNCHTRAIN_CUDA AUTO CACHE STRING "Build the CUDA half: AUTO (if a compiler is found), ON or OFF")
set_property(CACHE BUNCHTRAIN_CUDA PROPERTY STRINGS AUTO ON OFF)

# Where tools/setup unpacks; one folder may serve several clones.
set(deps_default "${PROJECT_SOURCE_DIR}/.deps")
if(DEFINED ENV{BUNCHTRAIN_DEPS})
  set(deps_default "$ENV{BUNCHTRAIN_DEPS}")
endif()
set(BUNCHTRAIN_DEPS "${deps_default}" CACHE PATH "Folder in which tools/setup unpacked LibTorch and its companions")

option(BUNCHTRAIN_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(BUNCHTRAIN_EXAMPLES "Build the example trainers" ${PROJECT_IS_TOP_LEVEL})
option(BUNCHTRAIN_TOOLS "Build the bunchtrain command line program" ${PROJECT_IS_TOP_LEVEL})
option(BUNCHTRAIN_BENCHMARKS "Build the benchmarks" OFF)
option(BUNCHTRAIN_STATIC_HDF5 "Link HDF5 statically: programs that travel need none of the libraries behind the shared one" OFF)
option(BUNCHTRAIN_LINEINFO "Compile kernels with line information, for profilers and compute-sanitizer" OFF)
option(BUNCHTRAIN_INSTALL "Write install rules" ${PROJECT_IS_TOP_LEVEL})

set(werror_default OFF)
if(DEFINED ENV{BUNCHTRAIN_WERROR})
  set(werror_default $ENV{BUNCHTRAIN_WERROR})
endif()
option(BUNCHTRAIN_WERROR "Treat compiler warnings as errors (CI does)" ${werror_default})

set(test_data_default "${PROJECT_SOURCE_DIR}/../shared/data")
if(DEFINED ENV{BUNCHTRAIN_TEST_DATA})
  set(test_data_default "$ENV{BUNCHTRAIN_TEST_DATA}")
endif()
cmake_path(NORMAL_PATH test_data_default)
set(BUNCHTRAIN_TEST_DATA "${test_data_default}" CACHE PATH "Folder of real data files that some tests read")

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_LINK_DEPENDS_NO_SHARED ON)

# Static libraries are made fit for shared ones, and executables use the same code model: so one
# precompiled header serves them all.
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)

add_library(bunchtrain_build_flags INTERFACE)
target_compile_options(bunchtrain_build_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fPIC -Wall -Wextra -Winvalid-pch>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fPIC,-Wall,-Wextra>)
# LibTorch's headers then include the operators that they use, not all two thousand.
target_compile_definitions(bunchtrain_build_flags INTERFACE AT_PER_OPERATOR_HEADERS)
if(BUNCHTRAIN_LINEINFO)
  target_compile_options(bunchtrain_build_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo>)
endif()
if(BUNCHTRAIN_WERROR)
  target_compile_options(bunchtrain_build_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror>
    $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xcompiler=-Werror>)
endif()

set(BUNCHTRAIN_SANITIZER "" CACHE STRING "Sanitizers to build with, as -fsanitize= takes them")
if(BUNCHTRAIN_SANITIZER)
  # LibTorch hides its type information, which the vptr check would need.
  set(sanitizer_flags -fsanitize=${BUNCHTRAIN_SANITIZER} -fno-omit-frame-pointer)
  if(BUNCHTRAIN_SANITIZER MATCHES undefined)
    list(APPEND sanitizer_flags -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  endif()
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${sanitizer_flags}>")
  add_link_options(${sanitizer_flags})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache accepts precompiled headers only when told to be sloppy about their time stamps.
  set(sloppiness "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env ${sloppiness} ${CCACHE_PROGRAM})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  target_compile_options(bunchtrain_build_flags INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>)
endif()

# Not mold: Debian's 1.10 makes programs that do not start (RELRO on a page that is not mapped), or never ends.
find_program(LLD_PROGRAM ld.lld)
if(LLD_PROGRAM AND PROJECT_IS_TOP_LEVEL)
  add_link_options($<$<LINK_LANGUAGE:CXX>:-fuse-ld=lld>)
endif()
