# SPDX-License-Identifier: Apache-2.0
# Decides whether the CUDA half is built and enables the language.
#
# Sets BUNCHTRAIN_WITH_CUDA to ON or OFF. It is built if a compiler is found that fits LibTorch's CUDA half
# and if that half can be loaded here; with BUNCHTRAIN_CUDA=ON anything else is an error.

set(BUNCHTRAIN_WITH_CUDA OFF)
if(BUNCHTRAIN_CUDA STREQUAL "OFF")
  return()
endif()

# Looked for where CMake looks, in /usr/local/cuda, and among the wheels that `tools/setup --gpu` unpacks.
function(bunchtrain_find_nvcc)
  set(named "${CMAKE_CUDA_COMPILER}")
  if(NOT named AND DEFINED ENV{CUDACXX})
    set(named "$ENV{CUDACXX}")
  endif()
  if(named)
    set(BUNCHTRAIN_NVCC "${named}" PARENT_SCOPE)
    return()
  endif()
  find_program(BUNCHTRAIN_NVCC nvcc
    HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin"
    PATHS /usr/local/cuda/bin "${BUNCHTRAIN_DEPS}/nvidia/cu13/bin")
  mark_as_advanced(BUNCHTRAIN_NVCC)
endfunction()

# The CUDA major version that LibTorch was built with, from the name of the runtime that it loads.
function(bunchtrain_libtorch_cuda_major out)
  file(STRINGS "${LibTorch_LIBRARY_DIR}/libc10_cuda.so" names REGEX "^libcudart\\.so\\.[0-9]+")
  string(REGEX MATCH "[0-9]+" major "${names}")
  set(${out} "${major}" PARENT_SCOPE)
endfunction()

# Libraries that LibTorch's CUDA half would not find here; the driver comes with the card.
function(bunchtrain_unresolved_libraries out)
  execute_process(COMMAND ldd "${LibTorch_LIBRARY_DIR}/libtorch_cuda.so" OUTPUT_VARIABLE lines ERROR_QUIET)
  string(REGEX MATCHALL "[^ \t\n]+ => not found" missing "${lines}")
  list(TRANSFORM missing REPLACE " => not found" "")
  list(FILTER missing EXCLUDE REGEX "^libcuda\\.so")
  list(REMOVE_DUPLICATES missing)
  list(JOIN missing " " missing)
  set(${out} "${missing}" PARENT_SCOPE)
endfunction()

# Why the CUDA half cannot be built; empty if it can.
function(bunchtrain_cuda_obstacle out)
  set(${out} "" PARENT_SCOPE)
  if(NOT BUNCHTRAIN_NVCC)
    set(${out} "no CUDA compiler was found; tools/setup --gpu fetches one, CMAKE_CUDA_COMPILER names yours" PARENT_SCOPE)
    return()
  elseif(NOT LibTorch_CUDA_FOUND)
    set(${out} "the LibTorch in ${LibTorch_DIRECTORY} has no CUDA half; LibTorch_ROOT names another" PARENT_SCOPE)
    return()
  endif()
  bunchtrain_unresolved_libraries(missing)
  if(missing)
    set(${out} "LibTorch's CUDA half needs ${missing}; tools/setup --gpu fetches what is missing" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND "${BUNCHTRAIN_NVCC}" --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+)" unused "${text}")
  bunchtrain_libtorch_cuda_major(major)
  if(NOT CMAKE_MATCH_1 STREQUAL major)
    set(${out} "${BUNCHTRAIN_NVCC} is of CUDA ${CMAKE_MATCH_1}, LibTorch of CUDA ${major}" PARENT_SCOPE)
  endif()
endfunction()

bunchtrain_find_nvcc()
bunchtrain_cuda_obstacle(BUNCHTRAIN_CUDA_OBSTACLE)
if(BUNCHTRAIN_CUDA_OBSTACLE)
  if(BUNCHTRAIN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BUNCHTRAIN_CUDA=ON, but ${BUNCHTRAIN_CUDA_OBSTACLE}.")
  endif()
  return()
endif()

set(CMAKE_CUDA_COMPILER "${BUNCHTRAIN_NVCC}")
# PTX of the newest architecture lets the driver serve later cards.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90-real 100)
  if(DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES $ENV{CUDAARCHS})
  endif()
endif()
# LibTorch loads the shared CUDA runtime; a second, static one would have its own device state.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(BUNCHTRAIN_WITH_CUDA ON)
