# SPDX-License-Identifier: Apache-2.0
# How a module becomes a target.
#
#   bunchtrain_add_module(<module>
#     [SOURCES a.cpp ...]        # none: a header-only module
#     [CUDA_SOURCES cuda/x.cu ...]  # only in CUDA builds; .cu or .cpp
#     [STUB_SOURCES stub/x.cpp ...] # the same symbols for builds without CUDA
#     [DEPENDS core device ...]  # modules, part of the public interface
#     [LIBTORCH | LIBTORCH_NN]   # uses LibTorch; NN: precompiled header with torch::nn
#     [PRIVATE_LIBS fmt::fmt ...])  # libraries that only the sources see
#
# makes bunchtrain_<module>, its alias bunchtrain::<module>, and its install rules. Static by default;
# BUILD_SHARED_LIBS is honoured. BUNCHTRAIN_WITH_CUDA and BUNCHTRAIN_WITH_NCCL say what is built.

include(BunchtrainTorchHeaders)

bunchtrain_find(fmt cli11 toml json hwy openmp hdf5 deflate xxhash mpi)
set(BUNCHTRAIN_WITH_NCCL OFF)
if(BUNCHTRAIN_WITH_CUDA)
  bunchtrain_find(cudart)
  bunchtrain_find_quietly(nvml)
  bunchtrain_find_quietly(nccl)
  if(TARGET bunchtrain_dep::nccl)
    set(BUNCHTRAIN_WITH_NCCL ON)
  endif()
endif()

# One precompiled header per flavour, shared by all targets. No header of ours is in them: they would be made again and again.
function(bunchtrain_add_pch flavour)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINK;HEADERS;OPTIONS")
  set(target bunchtrain_pch_${flavour})
  set(source "${PROJECT_BINARY_DIR}/${target}.cpp")
  if(NOT EXISTS "${source}")
    file(WRITE "${source}" "// Carrier of a precompiled header.\n")
  endif()
  add_library(${target} STATIC EXCLUDE_FROM_ALL "${source}")
  bunchtrain_compile_settings(${target})
  target_compile_options(${target} PRIVATE ${arg_OPTIONS})
  target_link_libraries(${target} PRIVATE bunchtrain_dep::openmp ${arg_LINK})
  target_precompile_headers(${target} PRIVATE ${arg_HEADERS})
endfunction()

function(bunchtrain_use_pch target flavour)
  target_link_libraries(${target} PRIVATE bunchtrain_dep::openmp)
  target_precompile_headers(${target} REUSE_FROM bunchtrain_pch_${flavour})
  if(flavour MATCHES "nn$" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    string(REGEX REPLACE "nn$" "tensor" small ${flavour})
    bunchtrain_lighten(${target} ${small})
  endif()
endfunction()

# Sources that do not come to torch/nn get the small precompiled header.
function(bunchtrain_lighten target small)
  set(header "${PROJECT_BINARY_DIR}/CMakeFiles/bunchtrain_pch_${small}.dir/cmake_pch.hxx")
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cpp$")
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}" NORMALIZE)
    bunchtrain_reached_torch("${source}" reached "${CMAKE_CURRENT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/python-free-tests")
    if(NOT reached STREQUAL "nn")
      set_property(SOURCE "${source}" PROPERTY SKIP_PRECOMPILE_HEADERS ON)
      set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS -include "${header}")
      set_property(SOURCE "${source}" APPEND PROPERTY OBJECT_DEPENDS "${header}.gch")
    endif()
  endforeach()
  add_dependencies(${target} bunchtrain_pch_${small})
endfunction()

# LibTorch ships an fmt of its own; a folder that holds nothing but the system's comes before it.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
list(GET fmt_include 0 fmt_include)
set(BUNCHTRAIN_FMT_FIRST "${PROJECT_BINARY_DIR}/fmt-first")
file(MAKE_DIRECTORY "${BUNCHTRAIN_FMT_FIRST}")
file(CREATE_LINK "${fmt_include}/fmt" "${BUNCHTRAIN_FMT_FIRST}/fmt" SYMBOLIC)
# It is in precompiled headers, which serve where its macros are the same.
get_target_property(fmt_definitions fmt::fmt INTERFACE_COMPILE_DEFINITIONS)
if(fmt_definitions)
  target_compile_definitions(bunchtrain_build_flags INTERFACE ${fmt_definitions})
endif()

function(bunchtrain_compile_settings target)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:bunchtrain_build_flags>)
  target_include_directories(${target} BEFORE PRIVATE "${BUNCHTRAIN_FMT_FIRST}")
endfunction()

set(BUNCHTRAIN_USUAL_HEADERS <fmt/format.h> <algorithm> <array> <chrono> <filesystem> <fstream> <functional> <map> <memory>
  <optional> <span> <sstream> <string> <string_view> <vector>)
set(BUNCHTRAIN_TENSOR_HEADERS <ATen/core/Tensor.h> <c10/util/Exception.h>)
set(BUNCHTRAIN_NN_HEADERS <torch/nn/module.h> <torch/nn/pimpl.h> <ATen/core/Tensor.h>)
bunchtrain_add_pch(tensor LINK LibTorch::cpu HEADERS ${BUNCHTRAIN_TENSOR_HEADERS} ${BUNCHTRAIN_USUAL_HEADERS})
bunchtrain_add_pch(nn LINK LibTorch::cpu HEADERS ${BUNCHTRAIN_NN_HEADERS} ${BUNCHTRAIN_USUAL_HEADERS})

function(bunchtrain_add_module module)
  cmake_parse_arguments(PARSE_ARGV 1 arg "LIBTORCH;LIBTORCH_NN" ""
    "SOURCES;CUDA_SOURCES;STUB_SOURCES;DEPENDS;PRIVATE_LIBS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "bunchtrain_add_module(${module}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(target bunchtrain_${module})
  if(BUNCHTRAIN_WITH_CUDA)
    list(APPEND arg_SOURCES ${arg_CUDA_SOURCES})
  else()
    list(APPEND arg_SOURCES ${arg_STUB_SOURCES})
  endif()

  set(public PUBLIC)
  if(arg_SOURCES)
    add_library(${target} ${arg_SOURCES})
    bunchtrain_compile_settings(${target})
    target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    target_link_libraries(${target} PRIVATE ${arg_PRIVATE_LIBS})
    set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  else()
    add_library(${target} INTERFACE)
    set(public INTERFACE)
  endif()
  add_library(bunchtrain::${module} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${module})
  target_compile_features(${target} ${public} cxx_std_20)
  target_include_directories(${target} ${public}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  foreach(dependency IN LISTS arg_DEPENDS)
    if(NOT TARGET bunchtrain::${dependency})
      message(FATAL_ERROR "Module ${module} depends on ${dependency}, which comes later in the layer order or does not exist")
    endif()
    target_link_libraries(${target} ${public} bunchtrain::${dependency})
  endforeach()
  bunchtrain_link_libtorch(${target} ${public})
  set_property(GLOBAL APPEND PROPERTY BUNCHTRAIN_BUILT_MODULES ${module})
endfunction()

# Part of bunchtrain_add_module and bunchtrain_add_program; reads their arg_ variables.
macro(bunchtrain_link_libtorch target public)
  if(arg_LIBTORCH OR arg_LIBTORCH_NN)
    target_link_libraries(${target} ${public} LibTorch::cpu)
    if(arg_SOURCES AND arg_LIBTORCH_NN)
      bunchtrain_use_pch(${target} nn)
    elseif(arg_SOURCES)
      bunchtrain_use_pch(${target} tensor)
    endif()
  endif()
  if(BUNCHTRAIN_WITH_CUDA AND arg_CUDA_SOURCES)
    target_link_libraries(${target} ${public} bunchtrain_dep::cudart)
    if(arg_LIBTORCH OR arg_LIBTORCH_NN)
      target_link_libraries(${target} ${public} LibTorch::cuda)
    endif()
  endif()
endmacro()

# What `cmake --install` installs, and no tests.
add_custom_target(bunchtrain_package)

# bunchtrain_add_program(<name> SOURCES main.cpp ... LINK bunchtrain::app ... [LIBTORCH | LIBTORCH_NN] [INSTALL]):
# an example or a tool, in the build folder of its directory.
function(bunchtrain_add_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "LIBTORCH;LIBTORCH_NN;INSTALL" "" "SOURCES;LINK")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "bunchtrain_add_program(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  add_executable(${name} ${arg_SOURCES})
  bunchtrain_compile_settings(${name})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
  bunchtrain_link_libtorch(${name} PRIVATE)
  if(arg_INSTALL AND BUNCHTRAIN_INSTALL)
    # LibTorch stays where it is; CMake itself would drop a folder inside the source tree.
    set_target_properties(${name} PROPERTIES
      INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${LibTorch_LIBRARY_DIR}" INSTALL_RPATH_USE_LINK_PATH ON)
    install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    add_dependencies(bunchtrain_package ${name})
  endif()
endfunction()

# The reference models have a folder of their own at the top level; every other module is in src/.
function(bunchtrain_add_module_directory module)
  foreach(directory "${PROJECT_SOURCE_DIR}/src/${module}" "${PROJECT_SOURCE_DIR}/${module}")
    if(EXISTS "${directory}/CMakeLists.txt")
      cmake_path(RELATIVE_PATH directory BASE_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE binary)
      add_subdirectory("${directory}" "${PROJECT_BINARY_DIR}/${binary}")
      return()
    endif()
  endforeach()
endfunction()

function(bunchtrain_add_optional_directory directory)
  set(option_tools BUNCHTRAIN_TOOLS)
  set(option_examples BUNCHTRAIN_EXAMPLES)
  set(option_benchmarks BUNCHTRAIN_BENCHMARKS)
  set(option_python-free-tests BUNCHTRAIN_TESTS)
  if(${option_${directory}} AND EXISTS "${PROJECT_SOURCE_DIR}/${directory}/CMakeLists.txt")
    add_subdirectory(${directory})
  endif()
endfunction()

function(bunchtrain_print_summary)
  set(cuda "off (${BUNCHTRAIN_CUDA_OBSTACLE})")
  if(BUNCHTRAIN_CUDA STREQUAL "OFF")
    set(cuda "off, as asked")
  endif()
  if(BUNCHTRAIN_WITH_CUDA)
    set(cuda "${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}, NCCL ${BUNCHTRAIN_WITH_NCCL}")
  endif()
  set(data "${BUNCHTRAIN_TEST_DATA}")
  if(NOT IS_DIRECTORY "${BUNCHTRAIN_TEST_DATA}")
    set(data "not found in ${BUNCHTRAIN_TEST_DATA}: tests that read real data are left out (set BUNCHTRAIN_TEST_DATA)")
  endif()
  message(STATUS "bunchtrain ${PROJECT_VERSION}")
  message(STATUS "  LibTorch   ${LibTorch_VERSION} in ${LibTorch_DIRECTORY}")
  message(STATUS "  CUDA       ${cuda}")
  message(STATUS "  test data  ${data}")
endfunction()
