# SPDX-License-Identifier: Apache-2.0
# Decides whether the CUDA half is built and enables the language.
#
# Sets BUNCHTRAIN_WITH_CUDA to ON or OFF. The compiler is looked for where CMake looks, in
# /usr/local/cuda, and among the wheels that `tools/setup --gpu` unpacks.

# Where tools/setup unpacks; `BUNCHTRAIN_DEPS` shares one folder between clones.
set(deps_default "${PROJECT_SOURCE_DIR}/.deps")
if(DEFINED ENV{BUNCHTRAIN_DEPS})
  set(deps_default "$ENV{BUNCHTRAIN_DEPS}")
endif()
set(BUNCHTRAIN_DEPS "${deps_default}" CACHE PATH "Folder in which tools/setup unpacks LibTorch and its companions")

function(bunchtrain_find_nvcc)
  if(CMAKE_CUDA_COMPILER OR DEFINED ENV{CUDACXX})
    return()
  endif()
  set(wheel_toolkit "${BUNCHTRAIN_DEPS}/nvidia/cu13")
  find_program(BUNCHTRAIN_NVCC nvcc
    HINTS "${CUDAToolkit_ROOT}/bin" "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin"
    PATHS /usr/local/cuda/bin "${wheel_toolkit}/bin")
  mark_as_advanced(BUNCHTRAIN_NVCC)
  if(NOT BUNCHTRAIN_NVCC)
    return()
  endif()
  set(CMAKE_CUDA_COMPILER "${BUNCHTRAIN_NVCC}" PARENT_SCOPE)
  cmake_path(IS_PREFIX wheel_toolkit "${BUNCHTRAIN_NVCC}" NORMALIZE from_wheel)
  if(from_wheel)
    set(CUDAToolkit_ROOT "${wheel_toolkit}" PARENT_SCOPE)
  endif()
endfunction()

set(BUNCHTRAIN_WITH_CUDA OFF)
if(BUNCHTRAIN_CUDA STREQUAL "OFF")
  return()
endif()

# PTX of the newest architecture lets the driver serve later cards.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90-real 100)
endif()
# LibTorch loads the shared CUDA runtime; a second, static one would have its own device state.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)

bunchtrain_find_nvcc()
include(CheckLanguage)
check_language(CUDA)
if(CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has C++20
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  find_package(CUDAToolkit REQUIRED)
  set(BUNCHTRAIN_WITH_CUDA ON)
elseif(BUNCHTRAIN_CUDA STREQUAL "ON")
  message(FATAL_ERROR "BUNCHTRAIN_CUDA=ON, but no CUDA compiler was found. "
    "Run tools/setup --gpu to fetch one, or name yours with -DCMAKE_CUDA_COMPILER=/path/to/nvcc.")
endif()
