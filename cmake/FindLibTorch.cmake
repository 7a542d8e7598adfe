# SPDX-License-Identifier: Apache-2.0
# Finds LibTorch without LibTorch's own CMake files (those want the CUDA toolkit and a Python
# interpreter even for CPU programs, and change global flags).
#
# Searched, in this order: a target `torch` that the project already has, LibTorch_ROOT,
# CMAKE_PREFIX_PATH, BUNCHTRAIN_DEPS (variable or environment), <source>/.deps, and, from the installed
# package, where the library was built with it (bunchtrain_built_with_libtorch). The official zip, the
# unpacked PyPI wheel and an installed Python package have the same layout and are all welcome.
#
#   LibTorch::cpu        torch_cpu and c10
#   LibTorch::cuda       torch_cuda and c10_cuda, on top of LibTorch::cpu; only if the LibTorch has it
#   LibTorch_VERSION     for example 2.11.0
#   LibTorch_CUDA_FOUND

function(libtorch_candidate_roots out)
  set(roots)
  if(TARGET torch_cpu)
    get_target_property(location torch_cpu LOCATION)
    cmake_path(GET location PARENT_PATH library_folder)
    list(APPEND roots "${library_folder}/..")
  endif()
  list(APPEND roots "${LibTorch_ROOT}" "$ENV{LibTorch_ROOT}")
  set(environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  string(REPLACE ":" ";" environment_prefixes "${environment_prefixes}")
  foreach(prefix IN LISTS CMAKE_PREFIX_PATH environment_prefixes)
    # torch.utils.cmake_prefix_path names <root>/share/cmake.
    list(APPEND roots "${prefix}" "${prefix}/torch" "${prefix}/../..")
  endforeach()
  list(APPEND roots "${BUNCHTRAIN_DEPS}/torch" "$ENV{BUNCHTRAIN_DEPS}/torch" "${PROJECT_SOURCE_DIR}/.deps/torch"
       "${bunchtrain_built_with_libtorch}")
  set(${out} "${roots}" PARENT_SCOPE)
endfunction()

function(libtorch_find_root out)
  libtorch_candidate_roots(roots)
  foreach(root IN LISTS roots)
    if(root AND EXISTS "${root}/lib/libtorch_cpu.so" AND EXISTS "${root}/include/ATen/core/Tensor.h")
      cmake_path(NORMAL_PATH root)
      set(${out} "${root}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(${out} "" PARENT_SCOPE)
endfunction()

function(libtorch_read_version root out)
  set(${out} "" PARENT_SCOPE)
  foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
    if(EXISTS "${root}/include/${header}")
      file(STRINGS "${root}/include/${header}" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
      list(TRANSFORM lines REPLACE "[^0-9]" "" OUTPUT_VARIABLE numbers)
      list(LENGTH numbers count)
      if(count EQUAL 3)
        list(JOIN numbers "." version)
        set(${out} "${version}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
endfunction()

function(libtorch_import target library)
  if(NOT TARGET ${target})
    add_library(${target} SHARED IMPORTED)
    set_target_properties(${target} PROPERTIES
      IMPORTED_LOCATION "${LibTorch_LIBRARY_DIR}/${library}"
      IMPORTED_SONAME "${library}")
  endif()
endfunction()

libtorch_find_root(LibTorch_DIRECTORY)
if(LibTorch_DIRECTORY)
  libtorch_read_version("${LibTorch_DIRECTORY}" LibTorch_VERSION)
  set(LibTorch_LIBRARY_DIR "${LibTorch_DIRECTORY}/lib")
  set(LibTorch_INCLUDE_DIRS
    "${LibTorch_DIRECTORY}/include" "${LibTorch_DIRECTORY}/include/torch/csrc/api/include")
endif()

if(bunchtrain_built_with_libtorch)
  string(CONCAT libtorch_advice "bunchtrain was built with LibTorch ${bunchtrain_built_with_libtorch_version} in "
    "${bunchtrain_built_with_libtorch}, where it is no longer. Say where it is now: -DLibTorch_ROOT=/path/to/libtorch.")
else()
  set(libtorch_advice "Run tools/setup to fetch it, or name an existing one with -DLibTorch_ROOT=/path/to/libtorch.")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_DIRECTORY LibTorch_INCLUDE_DIRS
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "${libtorch_advice}")

set(LibTorch_CUDA_FOUND OFF)
if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  libtorch_import(LibTorch::c10 libc10.so)
  libtorch_import(LibTorch::torch_cpu libtorch_cpu.so)
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES INTERFACE_LINK_LIBRARIES "LibTorch::torch_cpu;LibTorch::c10")
  target_include_directories(LibTorch::cpu SYSTEM INTERFACE ${LibTorch_INCLUDE_DIRS})
endif()
if(LibTorch_FOUND AND EXISTS "${LibTorch_LIBRARY_DIR}/libtorch_cuda.so")
  set(LibTorch_CUDA_FOUND ON)
  if(NOT TARGET LibTorch::cuda)
    libtorch_import(LibTorch::c10_cuda libc10_cuda.so)
    libtorch_import(LibTorch::torch_cuda libtorch_cuda.so)
    add_library(LibTorch::cuda INTERFACE IMPORTED)
    # Its kernels register themselves when loaded: no symbol of it need be used by name.
    set_target_properties(LibTorch::cuda PROPERTIES
      INTERFACE_LINK_OPTIONS "LINKER:--no-as-needed"
      INTERFACE_LINK_LIBRARIES "LibTorch::torch_cuda;LibTorch::c10_cuda;LibTorch::cpu")
  endif()
endif()
